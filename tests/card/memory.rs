//! Whose the memory is that a card says is in use: lines for a person. It is no test, and is run by name, in a process of its own:
//!
//! ```sh
//! scripts/cuda.sh cargo test --release --features cuda --test card -- --ignored --nocapture whose_memory
//! ```
//!
//! What grows as the context is made is the driver's: its own code, and the stack of all threads that the card can run at once. What grows
//! beside the tensors later is that of kernels: their code, memory of threads that is no register, graphs.

use std::process::Command;

use gstvideointerpolate::kernels::Context;
use gstvideointerpolate::kernels::device::Gpu;
use gstvideointerpolate::network::{Model, Variant};

use super::bench::{Stream, texture};
use super::common::Owned;
use super::{Format, card};

/// The size of the pictures, as 1920x1080.
const SIZE: &str = "CARD_MEMORY_SIZE";
const MIB: f64 = (1 << 20) as f64;

/// Prints what nvidia-smi says, and what the driver does once there is a context.
fn line(when: &str, gpu: Option<&Gpu>) {
    let mut text = format!("memory {when}: {} MiB by nvidia-smi", by_nvidia_smi());
    if let Some(gpu) = gpu {
        let memory = gpu.memory().unwrap();
        let mib = |bytes: u64| bytes as f64 / MIB;
        text += &format!(
            ", {:.1} by the driver, {:.1} of tensors (at most {:.1}), {:.1} set aside for them, stacks of {} bytes",
            mib(memory.used),
            mib(memory.tensors),
            mib(memory.most_tensors),
            mib(memory.reserved),
            memory.stack
        );
    }
    println!("{text}");
}

/// Of the first card, as a number; a question mark where the tool is not there.
fn by_nvidia_smi() -> String {
    let mut command = Command::new("nvidia-smi");
    let asked = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"];
    let output = command.args(asked).output();
    let output = output.ok().filter(|output| output.status.success());
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let first = said.as_deref().and_then(|said| said.lines().next());
    first.unwrap_or("?").trim().into()
}

#[test]
#[ignore = "lines, no test"]
fn whose_memory() {
    let size = std::env::var(SIZE).unwrap_or("1920x1080".into());
    let (w, h) = size.split_once('x').expect("a size as 1280x720");
    let size = (w.parse().expect("a width"), h.parse().expect("a height"));
    line("before there is a context", None);
    let Some(gpu) = card() else { return };
    line("with a context", Some(&gpu));
    let model = Model::from(Variant::Balanced.network().unwrap());
    let trial = model.try_on(&gpu).unwrap();
    line("after the kernels were tried", Some(&gpu));
    let context = Context::new(0).unwrap().on(Some(gpu.clone()));
    let context = context.with_way(trial.way);
    let pictures = [0.0, 3.0].map(|by| texture(size, by));
    let pictures = pictures.each_ref().map(Owned::picture);
    let mut out = Owned::new(Format::I420, size, 0);
    let mut stream = Stream::new(&model, &context, size);
    let mut go_on = || {
        stream.go_on(&pictures, &[0.5], false, &mut out.picture_mut());
    };
    (0..2).for_each(|_| go_on());
    line("after the first pair", Some(&gpu));
    (0..8).for_each(|_| go_on());
    line("after eight more, with graphs", Some(&gpu));
}
