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

#[test]
fn a_picture_is_surrounded_by_its_edge() {
    let context = Context::new(2).unwrap();
    let picture = Random(4).tensor((2, 3), 2, 1.0);
    let out = Random(5).tensor((5, 6), 2, 1.0);
    surround(&context, &picture, (1, 2), &out).unwrap();
    let all: Vec<Vec<Vec<f32>>> = out.to_vec3().unwrap();
    let inner: Vec<Vec<Vec<f32>>> = picture.to_vec3().unwrap();
    for (y, row) in all.iter().enumerate() {
        for (x, pixel) in row.iter().enumerate() {
            let (from_y, from_x) = (y.clamp(1, 2) - 1, x.clamp(2, 4) - 2);
            assert_eq!(*pixel, inner[from_y][from_x], "{y},{x}");
        }
    }
    assert!(surround(&context, &picture, (4, 0), &out).is_err());
}
