//! demo
/// demo
pub async fn demo() -> super::Done {
    Ok(())
}
