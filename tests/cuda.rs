//! The build with CUDA where there is no card: it loads, falls back, and says why. What a driver may answer is
//! played by `tests/cuda/driver.c`, which can also run the kernels, compiled for the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "cuda/benches.rs"]
mod benches;
#[path = "cuda/buffers.rs"]
mod buffers;
#[path = "common/checkpoints.rs"]
mod checkpoints;
#[path = "cuda/memory.rs"]
mod memory;

/// As cargo names it.
const PLUGIN: &str = "libgstvideointerpolate.so";
/// A small network of those that run on cards.
const NETWORK: &str = "rife-4.25.lite";
/// A network of each other family, and of what came before RIFE 4.
const OTHERS: [&str; 5] = ["ifrnet-s", "film", "rife-d", "amt-s", "ema-small"];
/// Names the numbers that features have on the card.
const CARD_VARIABLE: &str = "VIDEOINTERPOLATE_CARD";
/// As gst-launch-1.0 takes it.
const LINE: &str = "videotestsrc num-buffers=3 pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the plugin and nothing else: cargo puts it among all that the tests are made of.
fn plugin() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let tests = std::env::current_exe().expect("a test");
        let built = tests.with_file_name(PLUGIN);
        let folder = scratch("plugin");
        std::fs::copy(built, folder.join(PLUGIN)).expect("the plugin beside the tests");
        folder
    });
    folder.clone()
}

/// Of these tests alone.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("cuda")
        .join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn compile(compiler: &str, arguments: &[&str], source: &Path, out: &Path) {
    let mut command = Command::new(compiler);
    command
        .args(arguments)
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(out)
        .arg(source);
    let run = command.output().expect(compiler);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", source.display());
}

/// The folder of a libcuda.so.1 that is a test's.
fn driver() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch("driver");
        let source = root().join("tests/cuda/driver.c");
        let options = ["-Wall", "-Werror"];
        compile("gcc", &options, &source, &folder.join("libcuda.so.1"));
        let decoder = root().join("tests/cuda/decoder.c");
        compile("gcc", &options, &decoder, &folder.join("libnvcuvid.so.1"));
        folder
    })
}

/// Where the loader finds the driver, and a libcudnn.so.9 that is a test's.
fn with_cudnn() -> (&'static str, &'static str) {
    static FOLDERS: OnceLock<String> = OnceLock::new();
    ("LD_LIBRARY_PATH", FOLDERS.get_or_init(|| beside_cudnn(9)))
}

/// The same of an older one.
fn with_old_cudnn() -> (&'static str, &'static str) {
    static FOLDERS: OnceLock<String> = OnceLock::new();
    ("LD_LIBRARY_PATH", FOLDERS.get_or_init(|| beside_cudnn(8)))
}

fn beside_cudnn(version: usize) -> String {
    let folder = scratch(&format!("cudnn-{version}"));
    let library = folder.join(format!("libcudnn.so.{version}"));
    let source = root().join("tests/cuda/cudnn.c");
    let options = ["-Wall", "-Werror", "-march=native", "-ftree-vectorize"];
    compile("gcc", &options, &source, &library);
    format!("{}:{}", driver().display(), folder.display())
}

/// The folder of all kernels, compiled for the host.
fn kernels() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch("kernels");
        for entry in std::fs::read_dir(root().join("src/kernels")).expect("kernels") {
            let source = entry.expect("a folder").path().join("cuda.cu");
            if source.exists() {
                let name = source.parent().and_then(Path::file_name).expect("a name");
                let out = folder.join(name).with_extension("so");
                // each with an emulation of its own, though one process loads them all; in the red zone GCC 12 aligns too little
                let options = "-std=c++17 -march=native -ffp-contract=off -fno-gnu-unique -mno-red-zone -x c++";
                let options: Vec<_> = options.split(' ').collect();
                compile("g++", &options, &source, &out);
            }
        }
        folder
    })
}

/// A checkpoint with weights that mean nothing.
fn checkpoint() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| written(NETWORK))
}

fn written(network: &str) -> PathBuf {
    let path = scratch("model").join(format!("{network}.safetensors"));
    candle_core::safetensors::save(&checkpoints::tensors(network), &path).expect("written");
    path
}

/// What the driver is to be, by its variables; without one of the first kind there is none.
fn command(
    program: impl AsRef<std::ffi::OsStr>,
    driver: Option<&Path>,
    settings: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(program);
    command
        .env("GST_PLUGIN_PATH", plugin())
        .env("GST_REGISTRY", scratch("registry").join("registry.bin"))
        .env("GST_DEBUG", "videointerpolate:4")
        .env("GST_DEBUG_NO_COLOR", "1")
        // what would be measured: two runs shall do the same
        .env(CARD_VARIABLE, "f16")
        .env_remove("CUDA_VISIBLE_DEVICES");
    match driver {
        Some(folder) => command.env("LD_LIBRARY_PATH", folder),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
    command.envs(settings.iter().copied());
    command
}

fn text(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|o| String::from_utf8_lossy(o).into_owned());
    both.concat()
}

/// The numbers that features have unless a test says otherwise: tensor cores that the host plays take networks of others too long.
fn numbers(properties: &str) -> (&'static str, &'static str) {
    let is_other = properties.contains("model=");
    (CARD_VARIABLE, if is_other { "f32" } else { "f16" })
}

/// Plays three frames; the properties of the element, the driver, what it is to be.
fn play(properties: &str, driver: Option<&Path>, settings: &[(&str, &str)]) -> (bool, String) {
    let line = format!("{LINE} ! videointerpolate {properties} ! fakesink");
    let settings = [&[numbers(properties)][..], settings].concat();
    let mut command = command("gst-launch-1.0", driver, &settings);
    let output = command
        .args(line.split(' '))
        .output()
        .expect("gst-launch-1.0");
    (output.status.success(), text(&output))
}

fn model() -> String {
    format!("model={}", checkpoint().display())
}

/// A machine that has a driver is not what these tests are about.
fn has_driver() -> bool {
    let found = Path::new("/proc/driver/nvidia/version").exists();
    if found {
        println!("skipped: this machine has a driver; see tests/card.rs");
    }
    found
}

#[test]
fn the_plugin_loads_without_a_driver() {
    let output = command("gst-inspect-1.0", None, &[])
        .arg("videointerpolate")
        .output();
    let text = text(&output.expect("gst-inspect-1.0"));
    assert!(text.contains("Where the network runs"), "{text}");
    let mut command = command("gst-inspect-1.0", None, &[]);
    let blacklist = command
        .arg("--print-blacklist")
        .output()
        .expect("gst-inspect-1.0");
    let blacklist = String::from_utf8_lossy(&blacklist.stdout).into_owned();
    assert!(!blacklist.contains("videointerpolate"), "{blacklist}");
}

#[test]
fn the_plugin_needs_no_library_of_cuda() {
    let file = plugin().join(PLUGIN);
    let output = Command::new("readelf")
        .arg("-d")
        .arg(file)
        .output()
        .expect("readelf");
    let text = text(&output);
    assert!(text.contains("NEEDED"), "{text}");
    for library in [
        "libcuda",
        "libcublas",
        "libcurand",
        "libnvrtc",
        "libcudnn",
        "libstdc++",
    ] {
        assert!(!text.contains(library), "{library}: {text}");
    }
}

#[test]
fn auto_takes_the_cpu_and_says_why() {
    if has_driver() {
        return;
    }
    for properties in [String::new(), model()] {
        let (played, log) = play(&properties, None, &[]);
        assert!(played, "{log}");
        assert!(
            log.contains("runs on the CPU: ") && log.contains("libcuda.so.1"),
            "{log}"
        );
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn a_card_that_cannot_be_used_is_one_clear_error() {
    if has_driver() {
        return;
    }
    type Case<'a> = (&'a str, bool, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case; 9] = [
        (
            "cuda",
            false,
            &[],
            &["no NVIDIA driver", "install driver 580"],
        ),
        (
            "cuda",
            true,
            &[("DRIVER_VERSION", "12040")],
            &["for CUDA 12.4", "install driver 580"],
        ),
        (
            "cuda",
            true,
            &[("DRIVER_CARDS", "0")],
            &["sees no card", "\"cpu\""],
        ),
        (
            "cuda",
            true,
            &[("CUDA_VISIBLE_DEVICES", "")],
            &["sees no card", "CUDA_VISIBLE_DEVICES is \"\""],
        ),
        (
            "cuda:3",
            true,
            &[("DRIVER_CARDS", "2")],
            &["cuda:3", "the last of 2 is cuda:1"],
        ),
        (
            "cuda",
            true,
            &[("DRIVER_CAPABILITY", "52")],
            &["Test card", "5.2", "at least 7.5"],
        ),
        // no kernels: the driver refuses the module
        (
            "cuda",
            true,
            &[],
            &["has failed", "UNSUPPORTED_PTX", "\"cpu\""],
        ),
        ("gpu", true, &[], &["gpu", "unknown", "\"cuda:N\""]),
        ("cuda:x", true, &[], &["cuda:x", "unknown"]),
    ];
    for (device, has_driver, settings, words) in cases {
        let properties = format!("{} device={device}", model());
        let (played, log) = play(&properties, has_driver.then(driver), settings);
        assert!(!played, "{device} {settings:?}: {log}");
        let errors: Vec<_> = log
            .lines()
            .filter(|l| l.starts_with("ERROR: from") && l.contains("GstVideoInterpolate"))
            .collect();
        assert_eq!(errors.len(), 1, "{device} {settings:?}: {log}");
        for word in words {
            assert!(
                errors[0].contains(word),
                "{device} {settings:?}, {word}: {}",
                errors[0]
            );
        }
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn auto_falls_back_whatever_the_driver_is() {
    for settings in [
        &[("DRIVER_VERSION", "11080")][..],
        &[("DRIVER_CARDS", "0")],
        &[("DRIVER_CAPABILITY", "61")],
        &[],
    ] {
        let (played, log) = play(&model(), Some(driver()), settings);
        assert!(played, "{settings:?}: {log}");
        assert!(log.contains("runs on the CPU: "), "{settings:?}: {log}");
    }
}

/// The driver that runs the kernels.
fn runs() -> (&'static str, &'static str) {
    let folder = kernels().to_str().expect("a plain name");
    ("DRIVER_KERNELS", folder)
}

#[test]
fn a_driver_that_runs_the_kernels_is_used() {
    let others = OTHERS.map(|name| format!("model={}", written(name).display()));
    for properties in [String::new(), model()].into_iter().chain(others) {
        let properties = format!("{properties} device=cuda");
        let (played, log) = play(properties.trim(), Some(driver()), &[runs()]);
        assert!(played, "{log}");
        assert!(log.contains("runs on cuda:0 (Test card)"), "{log}");
    }
}

#[test]
fn features_have_the_numbers_that_are_asked_for() {
    for properties in ["device=cuda".into(), format!("{} device=cuda", model())] {
        for precision in ["f32", "f16"] {
            let settings = [runs(), (CARD_VARIABLE, precision)];
            let (played, log) = play(&properties, Some(driver()), &settings);
            assert!(
                played && log.contains(&format!("(Test card), features {precision}")),
                "{log}"
            );
        }
    }
    // measured
    let (played, log) = play(
        "device=cuda",
        Some(driver()),
        &[runs(), (CARD_VARIABLE, "")],
    );
    assert!(played && log.contains("(Test card), features f"), "{log}");
}

#[test]
fn cudnn_that_is_asked_for_and_cannot_be_used_is_an_error() {
    let properties = format!("{} device=cuda", model());
    for (settings, word) in [
        (&[][..], "libcudnn.so.9"),
        (
            &[with_cudnn(), ("CUDNN_VERSION", "7605")],
            "of version 7605",
        ),
        (
            &[with_cudnn(), ("CUDNN_VERSION", "8907")],
            "of version 8907",
        ),
        (&[with_cudnn(), ("CUDNN_FAILS", "create")], "cudnnCreate"),
    ] {
        let settings = [settings, &[runs(), (CARD_VARIABLE, "cudnn")]].concat();
        let (played, log) = play(&properties, Some(driver()), &settings);
        assert!(!played, "{settings:?}: {log}");
        let error = log.lines().find(|l| l.starts_with("ERROR: from"));
        let said = error.is_some_and(|e| e.contains("cannot use cuDNN") && e.contains(word));
        assert!(said, "{settings:?}: {log}");
    }
    // the built-in network needs none
    let settings = [runs(), (CARD_VARIABLE, "cudnn")];
    let (played, log) = play("device=cuda", Some(driver()), &settings);
    assert!(played && log.contains("(Test card), features f16"), "{log}");
}

#[test]
fn a_convolution_is_cudnns_where_that_is_faster_and_works() {
    let new = with_cudnn();
    let old = [with_old_cudnn(), ("CUDNN_VERSION", "8907")];
    type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 2]);
    let cases: [Case; 5] = [
        (&[new], ["cuDNN 9.10.2", "3 of 3 by cuDNN"]),
        (&old, ["cuDNN 8.9.7", "3 of 3 by cuDNN"]),
        (&[new, ("CUDNN_SLOW", "500")], ["9.10.2", "0 of 3"]),
        (&[new, ("CUDNN_FAILS", "algorithms")], ["9.10.2", "0 of 3"]),
        (&[new, ("CUDNN_FAILS", "forward")], ["9.10.2", "0 of 3"]),
    ];
    for (settings, words) in cases {
        let settings = [settings, &[runs()]].concat();
        let mut command = command(tests_of_cards(), Some(driver()), &settings);
        let only = ["--nocapture", "a_convolution_is_run_by_what_is_faster"];
        let output = command.args(only).output().expect("a test");
        let log = text(&output);
        assert!(output.status.success(), "{settings:?}: {log}");
        for word in words {
            assert!(log.contains(word), "{settings:?}, {word}: {log}");
        }
    }
}

#[test]
fn networks_of_others_run_by_cudnn_without_an_allocation_after_the_first_pair() {
    let settings = [with_cudnn(), (CARD_VARIABLE, "cudnn-all")];
    let [few, many] = [3, 5].map(|frames| {
        let (log, report) = double((frames, "64x48"), &model(), &settings);
        let is_said = log.contains("features f16, convolutions by cuDNN 9.10.2");
        assert!(is_said && warnings(&log).is_empty(), "{log}");
        report
    });
    assert!(many.number("calls") > few.number("calls"));
    for what in ["allocations", "locked"] {
        assert_eq!(few.number(what), many.number(what), "{what}");
    }
}

#[test]
fn a_card_that_computes_otherwise_is_not_used() {
    // one that runs nothing
    let nothing = scratch("nothing");
    let folder = nothing.to_str().expect("a plain name");
    for properties in [String::new(), model()] {
        let (played, log) = play(&properties, Some(driver()), &[("DRIVER_KERNELS", folder)]);
        assert!(played && log.contains("otherwise than the CPU"), "{log}");
    }
}

/// What the driver has counted.
struct Report(String);

impl Report {
    fn number(&self, name: &str) -> u64 {
        let lines = self.0.lines();
        let mut values = lines.filter_map(|l| l.strip_prefix(name)?.trim().parse().ok());
        values
            .next()
            .unwrap_or_else(|| panic!("{name}: {}", self.0))
    }
}

/// Doubles so many frames of these properties on the card; what the element says, what the driver counts.
fn double(
    (frames, size): (usize, &str),
    properties: &str,
    settings: &[(&str, &str)],
) -> (String, Report) {
    let (width, height) = size.split_once('x').expect("a size");
    let line = format!(
        "videotestsrc num-buffers={frames} pattern=zone-plate kx2=20 ky2=20 kt=1 ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 ! videointerpolate device=cuda {properties} ! fakesink"
    );
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = scratch("reports").join(number.to_string());
    // what a former run may have left is no report of this one
    let _ = std::fs::remove_file(&file);
    let report = ("DRIVER_REPORT", file.to_str().expect("a plain name"));
    let settings = [&[numbers(properties)][..], settings, &[runs(), report]].concat();
    let mut command = command("gst-launch-1.0", Some(driver()), &settings);
    let output = command.args(line.split_whitespace()).output();
    let output = output.expect("gst-launch-1.0");
    let log = text(&output);
    assert!(output.status.success(), "{line}: {log}");
    (
        log,
        Report(std::fs::read_to_string(file).expect("a report")),
    )
}

/// What the element warned of.
fn warnings(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|l| l.starts_with("WARNING: from"))
        .collect()
}

#[test]
fn a_card_without_enough_memory_is_spared_step_by_step() {
    let size = (3, "320x256");
    let peak = |size, properties: &str| {
        let (log, report) = double(size, properties, &[]);
        assert!(warnings(&log).is_empty(), "{log}");
        report.number("peak")
    };
    let [whole, half, fast] =
        ["", "scale=0.5", "scale=0.5 quality=fast"].map(|properties| peak(size, properties));
    let least = peak((3, "64x48"), "");
    assert!(
        least < fast && fast < half && half < whole,
        "{least} {fast} {half} {whole}"
    );
    // the scale and the size go on, then the size alone, then nothing
    for (memory, steps) in [
        ((half + whole) / 2, &["at half the resolution"][..]),
        (
            (fast + half) / 2,
            &["at half the resolution", "quality=fast"],
        ),
        (
            (least + fast) / 2,
            &["at half the resolution", "quality=fast", "the CPU goes on"],
        ),
    ] {
        let memory = memory.to_string();
        let (log, _) = double(size, "", &[("DRIVER_MEMORY", &memory)]);
        let warnings = warnings(&log);
        assert_eq!(warnings.len(), steps.len(), "{memory} of {whole}: {log}");
        for (warning, step) in warnings.iter().zip(steps) {
            assert!(warning.contains("too little memory"), "{warning}");
            assert!(warning.contains(step), "{memory}: {warning}, not {step}");
        }
    }
}

/// Others have filled the card before anything is loaded: all of it, so that there is no context, or all but what a context takes.
#[test]
fn a_full_card_leaves_the_stream_to_the_cpu() {
    for memory in ["0", "4096"] {
        for properties in [String::new(), model()] {
            let properties = format!("{properties} device=cuda");
            let settings = [("DRIVER_MEMORY", memory), runs()];
            let (played, log) = play(properties.trim(), Some(driver()), &settings);
            assert!(played && log.contains("runs on the CPU"), "{log}");
            let warnings = warnings(&log);
            let [warning] = warnings[..] else {
                panic!("{memory} bytes: {log}");
            };
            for part in ["too little memory", "the CPU goes on"] {
                assert!(warning.contains(part), "{warning}");
            }
        }
    }
}

#[test]
fn networks_of_others_are_spared_too() {
    let (large, model) = ((2, "640x48"), model());
    let play = |size, memory: Option<u64>| {
        let memory = memory.map(|bytes| bytes.to_string());
        let settings = memory
            .as_ref()
            .map(|bytes| ("DRIVER_MEMORY", bytes.as_str()));
        let (log, report) = double(size, &model, settings.as_slice());
        (log, report.number("peak"))
    };
    let expect = |log: &str, steps: &[&str]| {
        let warnings = warnings(log);
        assert_eq!(warnings.len(), steps.len(), "{log}");
        for (warning, step) in warnings.iter().zip(steps) {
            assert!(warning.contains("too little memory"), "{warning}");
            assert!(warning.contains(step), "{warning}, not {step}");
        }
    };
    let [(log, whole), (_, least)] = [large, (2, "64x48")].map(|size| play(size, None));
    expect(&log, &[]);
    assert!(least < whole, "{least} {whole}");
    // what lies on the card whatever the size are the weights
    let (log, _) = play(large, Some((least + 7 * whole) / 8));
    expect(&log, &["sees pictures in parts"]);
    let (log, _) = play(large, Some((15 * least + whole) / 16));
    expect(&log, &["sees pictures in parts", "the CPU goes on"]);
    // too small for parts
    let (log, _) = play((2, "320x96"), Some(least + 1));
    expect(&log, &["the CPU goes on"]);
}

#[test]
fn nothing_is_allocated_after_the_first_pair() {
    for properties in ["", "scale=0.5", "show=flow"] {
        let reports = [2, 4, 8].map(|frames| double((frames, "64x48"), properties, &[]).1);
        let [pair, few, many] = &reports;
        let count = |what: &str, report: &Report| (what.to_owned(), report.number(what));
        assert_eq!(count("allocations", pair), count("allocations", many));
        // neighbours keep some buffers
        assert_eq!(count("locked", few), count("locked", many));
        assert!(many.number("launches") > pair.number("launches"));
    }
    // here a third picture is looked at, or the network is another
    let others = [OTHERS[0], OTHERS[3]].map(|name| format!("model={}", written(name).display()));
    let all = ["motion=trajectory".into(), model()];
    for properties in all.into_iter().chain(others) {
        let properties = &properties;
        let [few, many] = [4, 8].map(|frames| double((frames, "64x48"), properties, &[]).1);
        for what in ["allocations", "locked"] {
            assert_eq!(few.number(what), many.number(what), "{properties} {what}");
        }
        assert_crossed((64, 48), (&few, &many), properties, (0, 0));
    }
}

/// Fails unless of each of the four frames that one run has more a picture went up, and what was made of it came down, with so many
/// bytes in so many pieces beside it.
fn assert_crossed(
    (width, height): (usize, usize),
    (few, many): (&Report, &Report),
    properties: &str,
    (beside, copies): (u64, u64),
) {
    let picture = (width * height * 3 / 2) as u64;
    // what cuts are looked for in: of a picture so small three values of each 2x2 pixels
    let thumbnail = (width * height / 4 * 3 * size_of::<f32>()) as u64;
    let a_frame = |name: &str| (many.number(name) - few.number(name)) / 4;
    assert_eq!(a_frame("up"), picture, "{properties}");
    assert_eq!(a_frame("uploads"), 1, "{properties}");
    assert_eq!(
        a_frame("down"),
        picture + thumbnail + beside,
        "{properties}"
    );
    assert_eq!(a_frame("downloads"), 2 + copies, "{properties}");
    // until the source has been read, the thumbnail is there, and the picture is
    assert_eq!(a_frame("waits"), 3 + copies, "{properties}");
}

#[test]
fn pictures_alone_cross_over_in_one_piece() {
    let (width, height) = (64, 48);
    let size = format!("{width}x{height}");
    // the motion comes down where it is to be seen: flow, mask and confidence of each 4x4 pixels; a map stands in for the source, too
    let maps = 2 * (width * height / 16 * 6 * size_of::<f32>()) as u64;
    for (properties, beside) in [
        ("", (0, 0)),
        ("scale=0.5", (0, 0)),
        ("show=flow", (maps, 6)),
    ] {
        let [few, many] = [4, 8].map(|frames| double((frames, &size), properties, &[]).1);
        assert_crossed((width, height), (&few, &many), properties, beside);
    }
}

#[test]
fn a_card_that_is_lost_is_an_error() {
    let fails = ("DRIVER_FAILS", "200");
    let (played, log) = play(
        &format!("{} device=cuda", model()),
        Some(driver()),
        &[runs(), fails],
    );
    assert!(!played && log.contains("device cuda:0 has failed"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// What tests/card.rs was built to.
fn tests_of_cards() -> PathBuf {
    let tests = std::env::current_exe().expect("a test");
    let files = std::fs::read_dir(tests.parent().expect("a folder"))
        .expect("tests")
        .map(|e| e.expect("a file").path());
    let is_test = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with("card-") && !name.contains('.')
    };
    let newest = files
        .filter(is_test)
        .max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok());
    newest.expect("tests/card.rs built before, as make check-cuda does")
}

#[test]
fn the_tests_of_cards_pass_with_the_kernels_on_the_host() {
    // of 16 bits that of a narrower one is enough
    let others = OTHERS.join(",").replace("film", "film f32");
    let networks = format!("rife-4.0-fast,{NETWORK},{others}");
    let networks = ("CARD_NETWORKS", networks.as_str());
    let settings = [runs(), networks, with_cudnn()];
    let output = command(tests_of_cards(), Some(driver()), &settings)
        .arg("--nocapture")
        .output();
    let output = output.expect("a test");
    let log = text(&output);
    assert!(output.status.success() && !log.contains("skipped"), "{log}");
}
