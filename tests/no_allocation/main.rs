//! The packet path does not allocate: a global allocator counts, by thread, and over many slots of calls of every kind it counts nothing.
//! Neither does it log: a subscriber to all levels counts too.
//!
//! Two tests, over the same kinds of calls ([`kinds`]): the real media engine, its thread and its sockets ([`media_thread`]), and the leg
//! alone in virtual time over networks good and bad ([`leg`]). Not one allocation or free is let pass in thousands of slots; where one
//! happens, the test shows from where.
//!
//! The line is drawn at what a call is told. An order from the call's task (a prompt, more sound, new knobs, keys to send) may cost the
//! thread memory once: the channel that it comes by is a list of blocks of 31, of which each is freed when it has been read; the queue of
//! sounds grows when more than 64 wait, that of keys when there are any; and a recording is freed here if its last call was the last to
//! know it. What the *line* does costs nothing: packets, losses, keys, reports, speech, interruption, the end of prompts. Events cost
//! nothing to make; they leave by a closure, which here puts them into a ring, and in the program into a channel that takes a block for
//! every 32 of them. Once a second a thread adds its sums to the counters, and that costs nothing either.
//!
//! Not seen from here: memory that C takes by itself. The one C library on the path, the voice detector's gate, does so only when a leg is
//! made (`fvad_new`). And locks: a lock that nobody holds leaves no trace. There are none to be found in `media`, `call::leg` and below but
//! those of the counters' labels, once a second.

mod counting;
mod far;
mod kinds;
mod leg;
mod media_thread;
#[path = "../sim/network.rs"]
mod network;
