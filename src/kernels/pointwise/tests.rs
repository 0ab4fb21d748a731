use super::*;
use crate::kernels::testing::Random;

#[test]
fn only_negative_values_are_sloped_each_by_its_channel() {
    let tensor = Random(3).tensor((5, 7), 3, 2.0);
    let before: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    let slopes = [0.5, 0.0, -1.0];
    slope(&Context::new(2).unwrap(), &slopes, &tensor).unwrap();
    let after: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    for (i, (b, a)) in before.iter().zip(&after).enumerate() {
        let want = if *b < 0.0 { slopes[i % 3] * b } else { *b };
        assert_eq!(*a, want, "{i}");
    }
    assert!(slope(&Context::new(1).unwrap(), &slopes[..2], &tensor).is_err());
}
