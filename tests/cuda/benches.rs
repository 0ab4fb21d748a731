//! What tests/card.rs tells a person of a card, its benches and lines of memory: that each runs, and what of it does not hang on the card.

use super::{NETWORK, command, compile, driver, root, runs, scratch, tests_of_cards, text};

#[test]
fn the_bench_of_cards_counts_what_crosses_over() {
    let settings = [
        runs(),
        ("CARD_NETWORKS", &format!("fast,{NETWORK} f32")),
        ("CARD_SIZES", "64x48"),
        ("CARD_FRAMES", "1"),
        ("CARD_KERNELS", "1"),
    ];
    let mut command = command(tests_of_cards(), Some(driver()), &settings);
    let output = command.args(["--ignored", "--nocapture", "bench"]).output();
    let log = text(&output.expect("a bench"));
    let rows: Vec<Vec<&str>> = log
        .lines()
        .filter(|l| l.starts_with("| 64x48 |"))
        .map(|l| l.split('|').map(str::trim).collect())
        .collect();
    let networks = ["fast f32", "fast f16", &format!("{NETWORK} f32")];
    assert_eq!(rows.len(), networks.len(), "{log}");
    // what the card does at most, which the bench has found to be as many products as are said
    let head = log.lines().find(|l| l.contains("GB/s")).expect(&log);
    let rates: Vec<f64> = head
        .split(", ")
        .filter_map(|part| part.split_once(" TFLOP/s")?.0.parse().ok())
        .collect();
    assert!(rates.len() == 2 && rates.iter().all(|r| *r >= 0.0), "{log}");
    // each that was run, with the work of the driver's that it was
    assert!(log.contains("synthesise: 1 times, 1.000 ms"), "{log}");
    // of the network of others a list for the picture that is encoded, and one for each of its blocks
    assert_eq!(rows[2][23].parse(), Ok(1 + 5), "{log}");
    for (row, network) in rows.iter().zip(networks) {
        assert_eq!(row[2], network, "{log}");
        // of several streams side by side, the whole and the network alone
        assert!(
            [7, 10].iter().all(|i| row[*i].parse::<f64>().is_ok()),
            "{log}"
        );
        assert!(
            row[14].parse::<u64>().is_ok_and(|launches| launches > 0),
            "{log}"
        );
        let number = |i: usize| row[i].parse::<f64>().unwrap_or(f64::NAN);
        // work and bytes, and shares that are numbers
        assert!(number(17) > 0.0 && number(20) > 0.0, "{log}");
        assert!([18, 19, 21, 22].iter().all(|i| number(*i) >= 0.0), "{log}");
        // a picture of 64 x 48 in 4:2:0 each way, and a thumbnail down: three floats of each 2x2 pixels
        assert_eq!([row[12], row[13]], ["0.005", "0.014"], "{log}");
    }
}

#[test]
fn candles_own_convolutions_are_timed_where_there_is_a_cublas() {
    let library = scratch("cublas").join("libcublas.so");
    let source = root().join("tests/cuda/cublas.c");
    compile("gcc", &["-Wall", "-Werror"], &source, &library);
    // whose launches do nothing, those of candle's kernels neither
    let nothing = scratch("nothing");
    let told = |library: &str| -> Vec<String> {
        let settings = [
            ("DRIVER_KERNELS", nothing.to_str().expect("a plain name")),
            ("CARD_CUBLAS", library),
            ("CARD_CANDLES_SIZE", "64x48"),
        ];
        let mut command = command(tests_of_cards(), Some(driver()), &settings);
        let only = ["--ignored", "--nocapture", "candles_own"];
        let output = command.args(only).output().expect("a bench");
        let log = text(&output);
        assert!(output.status.success(), "{log}");
        let is_told = |l: &&str| l.starts_with('|') || l.contains("candle's own");
        log.lines().filter(is_told).map(str::to_owned).collect()
    };
    for (library, word) in [
        ("", "need cuBLAS, which is not linked"),
        ("libcublas.so.none", "do not run: "),
    ] {
        let lines = told(library);
        let is_said = |l: &String| l.contains("skipped: ") && l.contains(word);
        assert!(lines.len() == 1 && is_said(&lines[0]), "{lines:?}");
    }
    let lines = told(library.to_str().expect("a plain name"));
    // the body of a block, eight times, is the same in the others at other sizes
    let is_body = |l: &&String| l.contains("| 3x3 by 1, ") && l.contains(" | 8 | ");
    assert!(lines.iter().filter(is_body).count() >= 4, "{lines:?}");
    let last = lines.last().expect("a sum");
    assert!(last.starts_with("| all |"), "{lines:?}");
}

#[test]
fn the_memory_of_cards_is_told_step_by_step() {
    let log = lines_of_memory("0");
    let lines: Vec<_> = log.lines().filter(|l| l.starts_with("memory ")).collect();
    assert_eq!(lines.len(), 5, "{log}");
    let tensors = |line: &str| -> f64 {
        let before = line.split_once(" of tensors").expect(&log).0;
        let last = before.rsplit_once(' ').expect(&log).1;
        last.parse().expect(&log)
    };
    let tensors: Vec<_> = lines[1..].iter().map(|line| tensors(line)).collect();
    assert!(tensors[0] == 0.0 && tensors[2] > tensors[1], "{log}");
    assert_eq!(tensors[2], tensors[3], "{log}");
}

/// The driver would keep 1,024 bytes for each thread that a card can run at once.
#[test]
fn stacks_are_small_unless_others_use_the_card_already() {
    for (is_used, bytes) in [("0", 128), ("1", 1024)] {
        let log = lines_of_memory(is_used);
        let said = format!("stacks of {bytes} bytes");
        let lines = log.lines().filter(|line| line.ends_with(&said));
        assert_eq!(lines.count(), 4, "{is_used}: {log}");
    }
}

/// What is told of a card's memory, where others in the process use it or not.
fn lines_of_memory(is_used: &str) -> String {
    let settings = [
        runs(),
        ("CARD_MEMORY_SIZE", "64x48"),
        ("DRIVER_IS_USED", is_used),
    ];
    let mut command = command(tests_of_cards(), Some(driver()), &settings);
    let output = command
        .args(["--ignored", "--nocapture", "whose_memory"])
        .output();
    text(&output.expect("lines"))
}
