use super::*;

fn file() -> Vec<u8> {
    let device = &Device::Cpu;
    let tensors = HashMap::from([
        (
            "a.weight",
            Tensor::ones((2, 3, 1, 1), DType::F16, device).unwrap(),
        ),
        ("a.bias", Tensor::zeros(2, DType::F16, device).unwrap()),
        ("wild", Tensor::new(&[f32::NAN], device).unwrap()),
    ]);
    let mut views: Vec<(&str, Tensor)> = tensors.into_iter().collect();
    views.sort_by_key(|(name, _)| *name);
    let file = tempfile::NamedTempFile::new().unwrap();
    let tensors: HashMap<&str, Tensor> = views.into_iter().collect();
    candle_core::safetensors::save(&tensors, file.path()).unwrap();
    std::fs::read(file.path()).unwrap()
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn half_floats_become_floats() {
    let checkpoint = Checkpoint::parse("x", &file()).unwrap();
    let weight = checkpoint.tensor("a.weight", &[2, 3, 1, 1]).unwrap();
    assert_eq!(weight.dtype(), DType::F32);
    assert!(checkpoint.filter("a", [2, 3, 1], 1).is_ok());
}

#[test]
fn a_missing_tensor_is_named_with_its_file() {
    let checkpoint = Checkpoint::parse("some/where", &file()).unwrap();
    let message = message(checkpoint.filter("b", [2, 3, 1], 1));
    assert!(
        message.contains("some/where") && message.contains("b.weight"),
        "{message}"
    );
}

#[test]
fn a_wrong_shape_is_told_found_and_expected() {
    let checkpoint = Checkpoint::parse("x", &file()).unwrap();
    let message = message(checkpoint.filter("a", [2, 4, 1], 1));
    assert!(
        message.contains("[2, 3, 1, 1]") && message.contains("[2, 4, 1, 1]"),
        "{message}"
    );
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let checkpoint = Checkpoint::parse("x", &file()).unwrap();
    assert!(message(checkpoint.number("wild")).contains("not finite"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = file();
    for length in [0, 4, 8, 20, file.len() / 2, file.len() - 1] {
        let message = message(Checkpoint::parse("cut", &file[..length]));
        assert!(
            message.contains("cut") && message.contains("complete"),
            "{message}"
        );
    }
}

#[test]
fn no_file_and_a_folder_are_named() {
    assert!(message(Checkpoint::open(Path::new("/no/such/file"))).contains("/no/such/file"));
    assert!(message(Checkpoint::open(Path::new("/"))).contains("is a directory"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_without_an_end_is_refused() {
    let message = message(Checkpoint::open(Path::new("/dev/zero")));
    assert!(
        message.contains("/dev/zero") && message.contains("larger"),
        "{message}"
    );
}

/// A file of this header and as many zeros.
fn made(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn headers_that_lie_are_refused() {
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{b}}}}}"#
        )
    };
    let one = |shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    assert!(Checkpoint::parse("x", &made(&two("[0,8]", "[8,16]"), 16)).is_ok());
    for (what, header) in [
        ("overlap", two("[0,8]", "[4,12]")),
        ("the same bytes", two("[0,8]", "[0,8]")),
        ("a hole", two("[0,8]", "[12,20]")),
        ("backwards", one("[2]", "[16,8]")),
        ("beyond the end", one("[1000]", "[0,4000]")),
        (
            "a size that overflows",
            one("[4294967296,4294967296,2]", "[0,16]"),
        ),
        ("no objects", "[[[[[[[[".into()),
        ("no header", String::new()),
    ] {
        let message = message(Checkpoint::parse("liar", &made(&header, 16)));
        assert!(message.contains("liar"), "{what}: {message}");
    }
    for length in [u64::MAX, 1 << 40, 99_000_000] {
        let mut file = file();
        file[..8].copy_from_slice(&length.to_le_bytes());
        let message = message(Checkpoint::parse("liar", &file));
        assert!(message.contains("liar"), "header of {length}: {message}");
    }
}

#[test]
fn a_type_that_cannot_be_read_is_named() {
    let header = r#"{"a":{"dtype":"F8_E8M0","shape":[16],"data_offsets":[0,16]}}"#;
    let checkpoint = Checkpoint::parse("odd", &made(header, 16)).unwrap();
    let message = message(checkpoint.tensor("a", &[16]));
    assert!(
        message.contains("odd") && message.contains("tensor a"),
        "{message}"
    );
}

/// A file of `training/parity/checkpoints.py`.
fn written(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints");
    folder.join(name)
}

fn values(checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Vec<f32> {
    let tensor = checkpoint.tensor(name, shape).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn what_pytorch_wrote_is_read() {
    for name in [
        "plain.pth",
        "module.pkl",
        "wrapped.pth",
        "trained.pkl",
        "half.pth",
        "bfloat.pth",
        "strided.pth",
    ] {
        let checkpoint = Checkpoint::open(&written(name)).unwrap();
        let weight = values(&checkpoint, "a.weight", &[2, 3, 1, 1]);
        assert_eq!(weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{name}");
        assert_eq!(values(&checkpoint, "a.bias", &[2]), [0.5, -0.25], "{name}");
    }
}

#[test]
fn a_part_of_a_storage_is_read() {
    let checkpoint = Checkpoint::open(&written("strided.pth")).unwrap();
    let want = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(values(&checkpoint, "b", &[6]), want);
}

#[test]
fn modules_of_torchscript_are_read_by_their_attributes() {
    let checkpoint = Checkpoint::open(&written("script.pt")).unwrap();
    for part in 0..2 {
        let weight = values(
            &checkpoint,
            &format!("parts.{part}.a.weight"),
            &[2, 3, 1, 1],
        );
        assert_eq!(weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
    assert_eq!(checkpoint.names().len(), 4);
}

#[test]
fn a_pickle_before_the_zip_format_is_told_from_damage() {
    let message = message(Checkpoint::open(&written("old.pth")));
    assert!(message.contains("PyTorch before 1.6"), "{message}");
}

#[test]
fn folders_of_ncnn_are_read_in_both_precisions() {
    for path in [
        "ncnn",
        "ncnn-half",
        "ncnn/flownet.param",
        "ncnn/flownet.bin",
    ] {
        let checkpoint = Checkpoint::open(&written(path)).unwrap();
        let weight = values(&checkpoint, "block0.conv0.0.0.weight", &[4, 7, 3, 3]);
        assert_eq!(weight[..3], [0.0, 1.0 / 64.0, 2.0 / 64.0], "{path}");
        let bias = values(&checkpoint, "block0.conv0.1.0.bias", &[8]);
        assert_eq!(bias[6..], [6.0, 7.0], "{path}");
        // [inputs, outputs], as PyTorch has it
        let last = values(&checkpoint, "block0.lastconv.weight", &[8, 5, 4, 4]);
        assert_eq!(last[16], 128.0 / 64.0, "{path}");
        assert_eq!(checkpoint.names().len(), 6);
    }
}

#[test]
fn half_a_folder_of_ncnn_is_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = message(Checkpoint::open(folder.path()));
    let param = folder.path().join("flownet.param");
    std::fs::copy(written("ncnn/flownet.param"), param).unwrap();
    let half = message(Checkpoint::open(folder.path()));
    assert!(nothing.contains("without a .param"), "{nothing}");
    assert!(half.contains("flownet.bin cannot be read"), "{half}");
}

#[test]
fn lists_and_weights_of_ncnn_that_do_not_fit_are_refused() {
    let param = std::fs::read_to_string(written("ncnn/flownet.param")).unwrap();
    let bin = std::fs::read(written("ncnn/flownet.bin")).unwrap();
    let refused = |param: &str, bin: &[u8], want: &str| {
        let message = message(Checkpoint::parse_ncnn("some/where", param, bin));
        assert!(
            message.contains(want) && message.contains("some/where"),
            "{message}"
        );
    };
    refused(&param, &bin[..bin.len() - 1], "ends within layer deconv_0");
    refused(&param, &[&bin[..], &[0]].concat(), "1 bytes that no layer");
    refused("", &bin, "does not begin with");
    refused("7767517\n1000000 3", &bin, "counts");
    refused(&param.replace("4 4\n", "5 4\n"), &bin, "cut off");
    refused(&param.replace("6=252", "6=253"), &bin, "conv_0");
    refused(&param.replace("6=252", "6=4000000000"), &bin, "conv_0");
    refused(&param.replace("6=252", "6=x"), &bin, "6=x");
    let mut tagged = bin.clone();
    tagged[..4].copy_from_slice(&0x000d_4b38u32.to_le_bytes());
    refused(&param, &tagged, "eight-bit");
    tagged[0] = 77;
    refused(&param, &tagged, "begin with");
    let without = param.lines().filter(|l| !l.contains("Deconv"));
    let without: String = without.map(|l| format!("{l}\n")).collect();
    refused(
        &without.replace("4 4\n", "3 4\n"),
        &bin[..bin.len() - 4 - 4 * 645],
        "no network",
    );
}

#[test]
fn a_zip_cut_anywhere_is_refused() {
    let file = std::fs::read(written("plain.pth")).unwrap();
    for length in (4..file.len()).step_by(7) {
        let message = message(Checkpoint::parse("cut", &file[..length]));
        assert!(message.contains("cut:"), "{length}: {message}");
    }
}

/// An archive of these entries, stored; `lie` may change a directory record.
fn zip(entries: &[(&str, &[u8])], lie: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = file.len() as u32;
        let sizes = [data.len() as u32; 2].map(u32::to_le_bytes).concat();
        let lengths = [(name.len() as u16).to_le_bytes(), [0, 0]].concat();
        file.extend(
            [
                archive::MAGIC,
                &[0; 14],
                &sizes,
                &lengths,
                name.as_bytes(),
                data,
            ]
            .concat(),
        );
        let mut record = [&b"PK\x01\x02"[..], &[0; 16], &sizes, &lengths, &[0; 10]].concat();
        record.extend(at.to_le_bytes());
        lie(&mut record);
        directory.extend([&record[..], name.as_bytes()].concat());
    }
    let (count, start) = (entries.len() as u16, file.len() as u32);
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(); 2].concat());
    file.extend([[0; 4], start.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}

/// The pickle of a state dict with one tensor of these sizes and strides.
fn pickle_of(offset: u32, sizes: &[u32], strides: &[u32]) -> Vec<u8> {
    let int = |i: &u32| [&b"J"[..], &i.to_le_bytes()].concat();
    let tuple = |items: &[u32]| {
        [
            &b"("[..],
            &items.iter().flat_map(int).collect::<Vec<_>>(),
            b"t",
        ]
        .concat()
    };
    let text = |t: &str| [&b"X"[..], &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    [
        &b"\x80\x02}"[..],
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x04tQ",
        &int(&offset),
        &tuple(sizes),
        &tuple(strides),
        b"\x89}tRs.",
    ]
    .concat()
}

fn checkpoint_of(pickle: &[u8]) -> Result<Checkpoint> {
    let entries: [(&str, &[u8]); 2] = [("a/data.pkl", pickle), ("a/data/0", &[0; 16])];
    Checkpoint::parse("liar", &zip(&entries, |_| ()))
}

#[test]
fn tensors_that_lie_are_refused() {
    assert!(checkpoint_of(&pickle_of(0, &[2, 2], &[2, 1])).is_ok());
    assert!(checkpoint_of(&pickle_of(1, &[3], &[1])).is_ok());
    let refused = |offset, sizes: &[u32], strides: &[u32], want: &str| {
        let message = message(checkpoint_of(&pickle_of(offset, sizes, strides)));
        assert!(
            message.contains("tensor w") && message.contains(want),
            "{message}"
        );
    };
    refused(1, &[2, 2], &[2, 1], "reaches beyond");
    refused(0, &[2, 2], &[9, 1], "reaches beyond");
    refused(u32::MAX, &[1], &[1], "unknown way");
    refused(0, &[1 << 30, 1 << 30], &[0, 0], "larger than any network");
    refused(0, &[2, 1 << 30], &[0, 0], "larger than any network");
    refused(0, &[2], &[1, 1], "unknown way");
    refused(0, &[1; 9], &[1; 9], "unknown way");
}

#[test]
fn directories_that_lie_are_refused() {
    let pickle = pickle_of(0, &[4], &[1]);
    let refused = |want: &str, at: usize, bytes: &[u8]| {
        let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 16])];
        let file = zip(&entries, |record| {
            record[at..][..bytes.len()].copy_from_slice(bytes)
        });
        let message = message(Checkpoint::parse("liar", &file));
        assert!(message.contains(want), "{message}");
    };
    refused("compressed", 10, &[8]);
    refused("compressed", 20, &[1, 0, 0, 0]);
    refused("does not lie inside", 20, &[0xee; 8]);
    refused("damaged directory", 20, &[0xff; 8]);
    refused("does not lie inside", 42, &[9, 9, 9, 0]);
    refused("damaged directory", 28, &[0xff, 0xff]);
    refused("damaged directory", 0, b"PK\x03\x04");
    let message = message(Checkpoint::parse("liar", &zip(&[("x", b"")], |_| ())));
    assert!(message.contains("without data.pkl"), "{message}");
}

#[test]
fn pickles_that_would_grow_or_loop_end() {
    // a dict that holds itself
    let message_of = |pickle: &[u8]| message(checkpoint_of(pickle));
    assert!(message_of(b"}q\x00X\x01\0\0\0ah\x00s.").contains("no tensors"));
    // each list holds the one before it ten times
    let mut laughs = b"]q\x00".to_vec();
    for i in 1..=60u8 {
        laughs.extend(b"(");
        (0..10).for_each(|_| laughs.extend([b'h', i - 1]));
        laughs.extend([b'l', b'q', i]);
    }
    laughs.push(b'.');
    assert!(message_of(&laughs).contains("no tensors"));
    // the same with dicts, which are looked into
    let mut laughs = b"}q\x00".to_vec();
    for i in 1..=60u8 {
        laughs.extend(b"}(");
        for k in 0..10 {
            laughs.extend([b'X', 1, 0, 0, 0, b'a' + k, b'h', i - 1]);
        }
        laughs.extend([b'u', b'q', i]);
    }
    laughs.push(b'.');
    assert!(message_of(&laughs).contains("no tensors"));
    let deep = b"}X\x01\0\0\0a";
    let deep = [
        deep.repeat(100),
        b"K\x00".to_vec(),
        vec![b's'; 100],
        b".".to_vec(),
    ]
    .concat();
    assert!(message_of(&deep).contains("nested"));
    let long = [
        &b"}X"[..],
        &5000u32.to_le_bytes(),
        &[b'a'; 5000],
        b"K\x00s.",
    ]
    .concat();
    assert!(message_of(&long).contains("name of 5000 bytes"));
    for (pickle, want) in [
        (&b"X\xff\xff\xff\xffabc"[..], "cut off"),
        (b"", "cut off"),
        (b".", "empty stack"),
        (b"t.", "empty stack"),
        (b"h\x07.", "does not hold"),
        (b"\x8a\xff", "cut off"),
        (b"cos\nsystem\nX\x02\0\0\0ls\x85R.", "no tensors"),
        (b"i", "instruction 0x69"),
    ] {
        let message = message_of(pickle);
        assert!(message.contains(want), "{pickle:?}: {message}");
    }
}

#[test]
fn surplus_tensors_are_named_unless_they_are_ignored() {
    let checkpoint = Checkpoint::open(&written("strided.pth")).unwrap();
    checkpoint.tensor("a.weight", &[2, 3, 1, 1]).unwrap();
    let surplus = message(checkpoint.expect_no_more("it", &["b"]));
    assert!(
        surplus.contains("a.bias") && surplus.contains("it lacks"),
        "{surplus}"
    );
    assert!(checkpoint.expect_no_more("it", &["b", "a.bias"]).is_ok());
}

/// Every byte is set to every of some values, and every stretch is left out: no panic, and what is
/// read has finite memory. `fuzz/` does the same for longer.
#[test]
fn damaged_files_never_panic() {
    let mut random = crate::kernels::testing::Random(7);
    let files = [
        "plain.pth",
        "strided.pth",
        "script.pt",
        "half.pth",
        "trained.pkl",
    ];
    let whole = std::fs::read(written("plain.pth")).unwrap();
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
            let mut file = whole.clone();
            file[at] = value;
            let _ = Checkpoint::parse("damaged", &file);
        }
    }
    for name in files {
        let whole = std::fs::read(written(name)).unwrap();
        for _ in 0..2000 {
            let mut below = |n: usize| ((random.value() + 1.0) / 2.0 * n as f32) as usize % n;
            let mut file = whole.clone();
            for _ in 0..1 + below(8) {
                let at = below(file.len());
                match below(3) {
                    0 => file[at] = below(256) as u8,
                    1 => drop(file.drain(at..(at + below(9)).min(file.len()))),
                    _ => file.insert(at, below(256) as u8),
                }
            }
            let _ = Checkpoint::parse("damaged", &file);
        }
    }
}
