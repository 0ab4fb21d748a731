//! Caps: promises 1 to 13.

use crate::support::{self, MS, Rig, caps, watched};

const OPEN: &str = "video/x-raw";

// promise 4
#[test]
fn with_an_open_downstream_the_rate_doubles() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), OPEN);
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(rig.rate(), Some(gst::Fraction::new(50, 1)));
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        rig.eos();
        assert_eq!(support::ms(&rig.times()), [60]);
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}
