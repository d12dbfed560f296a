//! RFC 3551 section 4.5.11, L16: samples of 16 bits in network byte order.

/// Decodes as many samples as both sides have room for and returns how many that is.
pub fn decode(bytes: &[u8], samples: &mut [i16]) -> usize {
    let pairs = bytes.as_chunks::<2>().0;
    for (sample, pair) in samples.iter_mut().zip(pairs) {
        *sample = i16::from_be_bytes(*pair);
    }
    samples.len().min(pairs.len())
}

/// Encodes as many samples as both sides have room for and returns how many bytes that makes.
pub fn encode(samples: &[i16], bytes: &mut [u8]) -> usize {
    let pairs = bytes.as_chunks_mut::<2>().0;
    let count = samples.len().min(pairs.len());
    for (pair, sample) in pairs.iter_mut().zip(samples) {
        *pair = sample.to_be_bytes();
    }
    2 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_byte_comes_first_and_half_a_sample_is_none() {
        let mut samples = [7; 4];
        assert_eq!(decode(&[0x12, 0x34, 0xff, 0xfe, 0x55], &mut samples), 2);
        assert_eq!(samples, [0x1234, -2, 7, 7]);
        let mut bytes = [0; 5];
        assert_eq!(encode(&samples, &mut bytes), 4);
        assert_eq!(bytes, [0x12, 0x34, 0xff, 0xfe, 0]);
    }
}
