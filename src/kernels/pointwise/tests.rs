use super::*;
use crate::kernels::testing::Random;

#[test]
fn a_sum_has_nothing_below_zero() {
    let [a, b] = [3, 4].map(|seed| Random(seed).tensor((5, 7), 3, 2.0));
    let out = Random(5).tensor((5, 7), 3, 2.0);
    let context = Context::new(2).unwrap();
    add_rectified(&context, &a, &b, &out).unwrap();
    let want = (a + b).unwrap().relu().unwrap();
    let [want, out] = [want, out].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    assert_eq!(out, want);
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
