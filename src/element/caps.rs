//! Which caps go with which, and what is settled on. Pure functions.

use std::sync::LazyLock;

use gst::prelude::*;
use gst_video::VideoFormat;

use super::cuda_memory;
use crate::picture::Format;

const MAX_RATE: gst::Fraction = gst::Fraction::new_raw(i32::MAX, 1);
const ANY_RATE: gst::Fraction = gst::Fraction::new_raw(0, 1);

/// What a stream of unknown rate is raised to where downstream wants a rate but leaves it open.
const RATE_FOR_VARIABLE: gst::Fraction = gst::Fraction::new_raw(60, 1);

/// Every format of the stream's and the engine's name for it.
pub const FORMATS: [(VideoFormat, Format); 30] = [
    (VideoFormat::I420, Format::I420),
    (VideoFormat::Yv12, Format::Yv12),
    (VideoFormat::Nv12, Format::Nv12),
    (VideoFormat::Nv21, Format::Nv21),
    (VideoFormat::Y42b, Format::Y42b),
    (VideoFormat::Y444, Format::Y444),
    (VideoFormat::Gray8, Format::Gray8),
    (VideoFormat::I42010le, Format::I420_10),
    (VideoFormat::I42210le, Format::I422_10),
    (VideoFormat::Y44410le, Format::Y444_10),
    (VideoFormat::P01010le, Format::P010),
    (VideoFormat::Gray16Le, Format::Gray16),
    (VideoFormat::I42012le, Format::I420_12),
    (VideoFormat::A420, Format::A420),
    (VideoFormat::Ayuv, Format::Ayuv),
    (VideoFormat::Yuy2, Format::Yuy2),
    (VideoFormat::Uyvy, Format::Uyvy),
    (VideoFormat::Rgb, Format::Rgb),
    (VideoFormat::Bgr, Format::Bgr),
    (VideoFormat::Rgbx, Format::Rgbx),
    (VideoFormat::Bgrx, Format::Bgrx),
    (VideoFormat::Xrgb, Format::Xrgb),
    (VideoFormat::Xbgr, Format::Xbgr),
    (VideoFormat::Rgba, Format::Rgba),
    (VideoFormat::Bgra, Format::Bgra),
    (VideoFormat::Argb, Format::Argb),
    (VideoFormat::Abgr, Format::Abgr),
    (VideoFormat::Rgbp, Format::Rgbp),
    (VideoFormat::Gbr, Format::Gbr),
    (VideoFormat::Gbr10le, Format::Gbr10),
];

/// Both pads: raw video of [`FORMATS`] in system memory, alone, with overlays as metas, or as
/// fields; in a card's memory where that can be used.
///
/// It says nothing of a rate, so that caps which say nothing of it stay as they are.
pub fn template() -> gst::Caps {
    static TEMPLATE: LazyLock<gst::Caps> = LazyLock::new(|| {
        let mut caps = any_format().build();
        caps.merge(
            any_format()
                .features([
                    gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY.as_str(),
                    gst_video::CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION.as_str(),
                ])
                .build(),
        );
        // one field a buffer: passes through, or the error says what to do
        caps.merge(
            any_format()
                .features(["format:Interlaced"])
                .field("interlace-mode", "alternate")
                .build(),
        );
        if cuda_memory::is_offered() {
            let builder = gst_video::VideoCapsBuilder::new().features([cuda_memory::FEATURE]);
            caps.merge(builder.format_list(cuda_memory::FORMATS).build());
        }
        without_rate(caps)
    });
    TEMPLATE.clone()
}

/// Raw video of [`FORMATS`] in system memory alone, and nothing of a rate.
pub fn in_system_memory() -> gst::Caps {
    without_rate(any_format().build())
}

fn any_format() -> gst_video::VideoCapsBuilder<gst::caps::NoFeature> {
    gst_video::VideoCapsBuilder::new().format_list(FORMATS.iter().map(|(f, _)| *f))
}

fn without_rate(mut caps: gst::Caps) -> gst::Caps {
    for structure in caps.make_mut().iter_mut() {
        structure.remove_field("framerate");
    }
    caps
}

/// The pads of an aggregator: `src` and `sink` for `frames`, and a third one, of that name and those caps, for who asks for it.
pub fn aggregator_pads(
    frames: &gst::Caps,
    (name, caps): (&str, &gst::Caps),
) -> Vec<gst::PadTemplate> {
    use gst::{PadDirection::*, PadPresence::*};
    [
        ("src", Src, Always, frames),
        ("sink", Sink, Always, frames),
        (name, Sink, Request, caps),
    ]
    .into_iter()
    .filter_map(|(name, direction, presence, caps)| {
        let of = gst_base::AggregatorPad::static_type();
        gst::PadTemplate::with_gtype(name, direction, presence, caps, of).ok()
    })
    .collect()
}

/// The output rate that the properties ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `None`: not set.
    pub framerate: Option<gst::Fraction>,
    /// `None`: follow downstream.
    pub multiplier: Option<gst::Fraction>,
}

impl Wanted {
    /// Whether the wanted multiple of `input` is more than a rate can be: then the rate stays.
    pub fn is_beyond(&self, input: gst::Fraction) -> bool {
        let multiplier = self.multiplier.filter(|_| self.framerate.is_none());
        multiplier.is_some_and(|factor| multiplied(input, factor).is_none())
    }

    /// The rate wanted for an input of rate `input`.
    pub fn rate(&self, input: gst::Fraction) -> gst::Fraction {
        match (self.framerate, self.multiplier) {
            (Some(rate), _) => rate,
            (None, Some(factor)) => multiplied(input, factor).unwrap_or(input),
            (None, None) => input,
        }
    }
}

/// `a · b`, or `None` where numerator or denominator no longer fit.
pub fn multiplied(a: gst::Fraction, b: gst::Fraction) -> Option<gst::Fraction> {
    let num = i64::from(a.numer()) * i64::from(b.numer());
    let den = i64::from(a.denom()) * i64::from(b.denom());
    let divisor = gcd(num, den).max(1);
    let num = i32::try_from(num / divisor).ok()?;
    let den = i32::try_from(den / divisor).ok()?;
    (den != 0).then(|| gst::Fraction::new(num, den))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// The caps of the other pad that go with `caps` of the pad of `direction`: the same first, then
/// the same at any rate.
///
/// A structure without `framerate` stands for every rate; on the source pad the field is always
/// there, since the element knows what it makes.
pub fn transform(
    direction: gst::PadDirection,
    caps: &gst::CapsRef,
    filter: Option<&gst::Caps>,
) -> gst::Caps {
    let mut result = gst::Caps::new_empty();
    for (structure, features) in caps.iter_with_features() {
        if direction == gst::PadDirection::Src || structure.has_field("framerate") {
            result.merge_structure_full(structure.to_owned(), Some(features.to_owned()));
        }
        let mut any = structure.to_owned();
        any.set("framerate", gst::FractionRange::new(ANY_RATE, MAX_RATE));
        // it qualifies a variable rate, and the rate may become a fixed one
        any.remove_field("max-framerate");
        result.merge_structure_full(any, Some(features.to_owned()));
    }
    match filter {
        Some(filter) => filter.intersect_with_mode(&result, gst::CapsIntersectMode::First),
        None => result,
    }
}

/// Settles on one of `others` for the source pad where the sink pad has `input`: the structure
/// and rate nearest to what is wanted, the first of equals.
pub fn fixate(input: &gst::CapsRef, others: gst::Caps, wanted: &Wanted) -> gst::Caps {
    let Some(structure) = input.structure(0) else {
        return others;
    };
    let target = match structure.get::<gst::Fraction>("framerate") {
        Ok(rate) if passthrough_only(structure) => rate,
        Ok(rate) => wanted.rate(rate),
        Err(_) => ANY_RATE,
    };
    let fallback = structure
        .get::<gst::Fraction>("max-framerate")
        .unwrap_or(RATE_FOR_VARIABLE);
    let nearest = others
        .iter_with_features()
        .map(|(s, f)| (at_rate(s, target, fallback), f.to_owned()))
        .reduce(|best, next| {
            if nearer(rate_of(&next.0), rate_of(&best.0), target) {
                next
            } else {
                best
            }
        });
    let Some((mut structure, features)) = nearest else {
        return others;
    };
    if structure.has_field("pixel-aspect-ratio") {
        structure.fixate_field_nearest_fraction("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    }
    let mut caps = gst::Caps::new_empty();
    caps.merge_structure_full(structure, Some(features));
    caps.fixate();
    caps
}

/// `structure` with its rate fixed as near to `target` as it allows. Where the target is
/// "variable" and the structure does not allow that, `fallback` is the target.
fn at_rate(
    structure: &gst::StructureRef,
    target: gst::Fraction,
    fallback: gst::Fraction,
) -> gst::Structure {
    let fixed = |target| {
        let mut s = structure.to_owned();
        if s.has_field("framerate") {
            s.fixate_field_nearest_fraction("framerate", target);
        } else {
            s.set("framerate", target);
        }
        s
    };
    let s = fixed(target);
    if target.numer() == 0 && rate_of(&s).numer() != 0 {
        fixed(fallback)
    } else {
        s
    }
}

fn rate_of(structure: &gst::StructureRef) -> gst::Fraction {
    structure.get("framerate").unwrap_or(ANY_RATE)
}

/// Whether `a` is strictly nearer to `target` than `b`.
fn nearer(a: gst::Fraction, b: gst::Fraction, target: gst::Fraction) -> bool {
    // |x − t| over the denominator x·t, whose part t is common to both
    let distance = |x: gst::Fraction| {
        (i128::from(x.numer()) * i128::from(target.denom())
            - i128::from(target.numer()) * i128::from(x.denom()))
        .abs()
    };
    distance(a) * i128::from(b.denom()) < distance(b) * i128::from(a.denom())
}

/// Whether frames of these fixed caps are not whole pictures one after the other.
pub fn passthrough_only(structure: &gst::StructureRef) -> bool {
    let interlaced = structure
        .get::<&str>("interlace-mode")
        .is_ok_and(|mode| mode != "progressive");
    let multiview = structure
        .get::<&str>("multiview-mode")
        .is_ok_and(|mode| mode == "frame-by-frame" || mode == "multiview-frame-by-frame");
    interlaced || multiview
}

/// Whether two fixed caps describe the same pictures, whatever their rate.
pub fn same_picture(a: &gst::CapsRef, b: &gst::CapsRef) -> bool {
    let without_rate = |caps: &gst::CapsRef| {
        let mut caps = caps.to_owned();
        for s in caps.make_mut().iter_mut() {
            s.remove_fields(["framerate", "max-framerate"]);
        }
        caps
    };
    without_rate(a) == without_rate(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    fn wanted(framerate: (i32, i32), multiplier: (i32, i32)) -> Wanted {
        let set = |(n, d)| (n > 0).then(|| gst::Fraction::new(n, d));
        Wanted {
            framerate: set(framerate),
            multiplier: set(multiplier),
        }
    }

    /// The source caps after negotiation with a peer that offers `peer`.
    fn settled(input: &str, peer: &str, wanted: &Wanted) -> String {
        let input = caps(input);
        let others = transform(gst::PadDirection::Sink, &input, Some(&caps(peer)));
        let result = fixate(&input, others, wanted);
        assert!(result.is_fixed(), "{result}");
        let s = result.structure(0).unwrap();
        let rate = s.get::<gst::Fraction>("framerate").unwrap();
        format!("{}/{}", rate.numer(), rate.denom())
    }

    // promise 1
    #[test]
    fn the_other_pad_has_the_same_caps_first_then_any_rate() {
        for rate in ["15/1", "[15/1, 30/1]", "{15/1, 30/1}"] {
            let peer = caps(&format!("video/x-raw, framerate=(fraction){rate}"));
            let expected = caps(&format!(
                "video/x-raw, framerate=(fraction){rate}; video/x-raw, framerate=(fraction)[0/1, MAX]"
            ));
            for direction in [gst::PadDirection::Sink, gst::PadDirection::Src] {
                assert!(transform(direction, &peer, None).is_strictly_equal(&expected));
            }
        }
    }

    #[test]
    fn caps_without_a_rate_stay_so_upstream_and_get_one_downstream() {
        let peer = caps("video/x-raw");
        let any = caps("video/x-raw, framerate=(fraction)[0/1, MAX]");
        let up = transform(gst::PadDirection::Src, &peer, None);
        assert!(up.is_strictly_equal(&peer), "{up}");
        let down = transform(gst::PadDirection::Sink, &peer, None);
        assert!(down.is_strictly_equal(&any), "{down}");
    }

    #[test]
    fn features_and_other_fields_are_kept() {
        let peer = caps(
            "video/x-raw(memory:SystemMemory, meta:GstVideoOverlayComposition), width=7, framerate=5/1; video/x-raw, width=9",
        );
        let result = transform(gst::PadDirection::Src, &peer, None);
        assert_eq!(result.size(), 3, "{result}");
        assert!(
            result
                .features(1)
                .unwrap()
                .contains("meta:GstVideoOverlayComposition")
        );
        assert_eq!(result.structure(1).unwrap().get::<i32>("width"), Ok(7));
        assert_eq!(result.structure(2).unwrap().get::<i32>("width"), Ok(9));
    }

    // promise 3
    #[test]
    fn the_rate_nearest_to_the_wanted_one_is_chosen() {
        let double = wanted((0, 1), (2, 1));
        let follow = wanted((0, 1), (0, 1));
        let sixty = wanted((60, 1), (2, 1));
        let input = "video/x-raw, framerate=25/1";
        for (peer, settings, expected) in [
            ("video/x-raw", &double, "50/1"),
            ("video/x-raw", &follow, "25/1"),
            ("video/x-raw", &sixty, "60/1"),
            ("video/x-raw, framerate=[50/1, 120/1]", &follow, "50/1"),
            ("video/x-raw, framerate={24/1, 60/1, 30/1}", &follow, "24/1"),
            ("video/x-raw, framerate={24/1, 60/1, 30/1}", &double, "60/1"),
            ("video/x-raw, framerate=30/1", &sixty, "30/1"),
            (
                "video/x-raw, framerate=30/1; video/x-raw, framerate=48/1",
                &double,
                "48/1",
            ),
        ] {
            assert_eq!(
                settled(input, peer, settings),
                expected,
                "{peer} {settings:?}"
            );
        }
        let film = "video/x-raw, framerate=24000/1001";
        assert_eq!(
            settled(film, "video/x-raw", &wanted((0, 1), (5, 2))),
            "60000/1001"
        );
    }

    // promise 7
    #[test]
    fn a_variable_rate_stays_variable_unless_a_fixed_one_is_forced() {
        let double = wanted((0, 1), (2, 1));
        let input = "video/x-raw, framerate=0/1";
        assert_eq!(settled(input, "video/x-raw", &double), "0/1");
        assert_eq!(
            settled(input, "video/x-raw, framerate=30/1", &double),
            "30/1"
        );
        assert_eq!(
            settled(input, "video/x-raw, framerate=[1/1, 240/1]", &double),
            "60/1"
        );
        assert_eq!(
            settled(input, "video/x-raw", &wanted((48, 1), (2, 1))),
            "48/1"
        );
    }

    // promise 8
    #[test]
    fn a_fixed_rate_has_no_max_framerate_and_colour_stays() {
        let input = caps(
            "video/x-raw, framerate=0/1, max-framerate=30/1, colorimetry=bt2100-pq, chroma-site=mpeg2, mastering-display-info=\"1:2:3:4:5:6:7:8:9:10\", multiview-mode=mono",
        );
        let others = transform(gst::PadDirection::Sink, &input, None);
        let result = fixate(&input, others, &wanted((60, 1), (0, 1)));
        let s = result.structure(0).unwrap();
        assert!(!s.has_field("max-framerate"), "{result}");
        for field in [
            "colorimetry",
            "chroma-site",
            "mastering-display-info",
            "multiview-mode",
        ] {
            let of = |c: &gst::Caps| c.structure(0).unwrap().get::<String>(field).unwrap();
            assert_eq!(of(&result), of(&input));
        }
    }

    // promise 9
    #[test]
    fn what_is_not_progressive_keeps_its_rate() {
        let double = wanted((0, 1), (2, 1));
        for field in [
            "interlace-mode=interleaved",
            "interlace-mode=mixed",
            "interlace-mode=alternate",
            "multiview-mode=frame-by-frame",
        ] {
            let input = format!("video/x-raw, framerate=25/1, {field}");
            assert_eq!(settled(&input, "video/x-raw", &double), "25/1");
        }
    }

    #[test]
    fn products_that_do_not_fit_are_refused() {
        let f = gst::Fraction::new;
        assert_eq!(multiplied(f(30000, 1001), f(2, 1)), Some(f(60000, 1001)));
        assert_eq!(multiplied(f(i32::MAX, 1), f(3, 1)), None);
        assert_eq!(multiplied(f(0, 1), f(2, 1)), Some(f(0, 1)));
    }

    // promise 10
    #[test]
    fn the_template_names_its_formats_and_memory() {
        gst::init().unwrap();
        let template = template();
        assert!(!template.is_any());
        assert_eq!(template.size(), 3);
        for (structure, features) in template.iter_with_features() {
            assert!(!features.is_any());
            assert!(
                features.contains("memory:SystemMemory") || features.contains("format:Interlaced")
            );
            assert_eq!(
                structure.get::<gst::List>("format").unwrap().len(),
                FORMATS.len()
            );
        }
    }
}
