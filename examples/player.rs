//! A small player: playbin with the element as its video filter.
//!
//! ```text
//! player FILE | URI [RATE]
//! ```
//!
//! Type a letter and Return: `p` pauses and goes on, `i` switches interpolation off and on,
//! `f` and `b` jump ten seconds, `s` prints the counters, `q` quits.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use gst::prelude::*;

const USAGE: &str = "player FILE | URI [RATE]";
const JUMP: gst::ClockTime = gst::ClockTime::from_seconds(10);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().ok_or(USAGE)?;
    let rate = arguments.next().map(|text| rate(&text)).transpose()?;
    gst::init().map_err(|error| error.to_string())?;
    gstvideointerpolate::plugin_register_static().map_err(|error| error.to_string())?;

    // The queue gives inference a thread of its own, apart from the decoder's.
    let filter = gst::parse::bin_from_description("queue ! videointerpolate name=smooth", true)
        .map_err(|error| error.to_string())?;
    let smooth = filter.by_name("smooth").ok_or("no videointerpolate")?;
    interpolate(&smooth, rate, true);
    let player = gst::ElementFactory::make("playbin")
        .property("uri", uri(&source)?)
        .property("video-filter", &filter)
        .build()
        .map_err(|_| "playbin is missing: install gstreamer1.0-plugins-base")?;
    let result = play(&player, &smooth, rate);
    let _ = player.set_state(gst::State::Null);
    result
}

fn rate(text: &str) -> Result<gst::Fraction, String> {
    let (numer, denom) = text.split_once('/').unwrap_or((text, "1"));
    match (numer.parse(), denom.parse()) {
        (Ok(numer @ 1..=i32::MAX), Ok(denom @ 1..=i32::MAX)) => {
            Ok(gst::Fraction::new(numer, denom))
        }
        _ => Err(format!(
            "{text}: wanted frames a second as 60 or 60000/1001"
        )),
    }
}

fn uri(source: &str) -> Result<String, String> {
    if source.contains("://") {
        return Ok(source.into());
    }
    let path = std::fs::canonicalize(source).map_err(|error| format!("{source}: {error}"))?;
    let uri = gst::glib::filename_to_uri(path, None).map_err(|error| error.to_string())?;
    Ok(uri.into())
}

/// Switches interpolation on, to `rate` or else the double, or off.
fn interpolate(smooth: &gst::Element, rate: Option<gst::Fraction>, on: bool) {
    let not_set = gst::Fraction::new(0, 1);
    let rate = rate.filter(|_| on).unwrap_or(not_set);
    let factor = if on { 2 } else { 1 };
    smooth.set_property("multiplier", gst::Fraction::new(factor, 1));
    smooth.set_property("framerate", rate);
}

fn play(
    player: &gst::Element,
    smooth: &gst::Element,
    rate: Option<gst::Fraction>,
) -> Result<(), String> {
    let keys = keys();
    let bus = player.bus().ok_or("no bus")?;
    let _ = player.set_state(gst::State::Playing);
    loop {
        let kinds = [
            gst::MessageType::Eos,
            gst::MessageType::Error,
            gst::MessageType::Latency,
        ];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(50), &kinds);
        match message.as_deref().map(gst::MessageRef::view) {
            Some(gst::MessageView::Eos(_)) => return Ok(()),
            Some(gst::MessageView::Error(error)) => return Err(error.error().to_string()),
            Some(gst::MessageView::Latency(_)) => {
                let pipeline = player.downcast_ref::<gst::Bin>();
                pipeline.map(|p| p.recalculate_latency());
            }
            _ => {}
        }
        match keys.recv_timeout(Duration::ZERO) {
            Ok('q') => return Ok(()),
            Ok(key) => act(key, player, smooth, rate),
            Err(_) => {}
        }
    }
}

/// First letters of the lines that are typed.
fn keys() -> mpsc::Receiver<char> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line
                .chars()
                .next()
                .is_some_and(|key| sender.send(key).is_err())
            {
                break;
            }
        }
    });
    receiver
}

fn act(key: char, player: &gst::Element, smooth: &gst::Element, rate: Option<gst::Fraction>) {
    match key {
        'p' => {
            let state = match player.current_state() {
                gst::State::Playing => gst::State::Paused,
                _ => gst::State::Playing,
            };
            let _ = player.set_state(state);
        }
        'i' => {
            let now: gst::Fraction = smooth.property("multiplier");
            interpolate(smooth, rate, now.numer() == now.denom());
        }
        'f' | 'b' => {
            let at = player
                .query_position::<gst::ClockTime>()
                .unwrap_or(gst::ClockTime::ZERO);
            let to = match key {
                'f' => at + JUMP,
                _ => at.saturating_sub(JUMP),
            };
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
            let _ = player.seek_simple(flags, to);
        }
        's' => {
            let count = |name| smooth.property::<u64>(name);
            println!(
                "in {}, out {}, interpolated {}, held {}, dropped {}",
                count("in"),
                count("out"),
                count("interpolated"),
                count("duplicate"),
                count("drop")
            );
        }
        _ => println!("p pause, i interpolation, f forward, b back, s counters, q quit"),
    }
}
