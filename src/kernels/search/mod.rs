//! stub
use candle_core::Tensor;
use super::Context;
#[derive(Debug)]
pub struct Space;
impl Space { pub fn new(_: &[(usize, usize)], _: usize) -> candle_core::Result<Self> { Ok(Self) } }
pub fn search(_: &Context, _: [&[Tensor]; 2], _: &mut Space, _: [&Tensor; 2]) -> candle_core::Result<()> { Ok(()) }
