#![no_main]

// The decoder's panics are caught where it is called: only one that gets out is a finding.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| trunkline_fuzz::mp3(data));
