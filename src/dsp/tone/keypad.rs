//! ITU-T Q.23: a key is one frequency of the low group and one of the high group.
//!
//! |        | 1209 | 1336 | 1477 | 1633 |
//! |--------|------|------|------|------|
//! | **697** | 1 | 2 | 3 | A |
//! | **770** | 4 | 5 | 6 | B |
//! | **852** | 7 | 8 | 9 | C |
//! | **941** | * | 0 | # | D |

/// The low group, then the high group, in Hz.
pub const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];

const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The key of a row and a column, 0 to 3.
pub(super) fn key(row: usize, column: usize) -> char {
    KEYS[row & 3][column & 3]
}

/// The two frequencies of a key; `None` when it is none of the sixteen.
pub fn frequencies(key: char) -> Option<(f32, f32)> {
    let row = KEYS.iter().position(|row| row.contains(&key))?;
    let column = KEYS[row].iter().position(|known| *known == key)?;
    Some((FREQUENCIES[row], FREQUENCIES[4 + column]))
}
