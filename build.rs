use std::env;
use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Cards that the released plugin brings machine code for. Newer ones compile, as they load it, what is for the last.
const CARDS: [u32; 5] = [75, 80, 86, 89, 90];

fn main() {
    gst_plugin_version_helper::info();
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(problem) = cuda()
    {
        panic!("{problem}; build it with: make plugin CUDA=1");
    }
}

/// Compiles every `src/kernels/*/cuda.cu`, several at a time, lists them in `$OUT_DIR/modules.rs`, and links stand-ins for CUDA's libraries.
fn cuda() -> Result<()> {
    for variable in ["NVCC", "CUDA_STANDINS"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if let Ok(folder) = env::var("CUDA_STANDINS") {
        println!("cargo:rustc-link-search=native={folder}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=src/kernels");
    let mut modules = String::from("const MODULES: &[(&str, &[u8])] = &[");
    let (mut headers, mut jobs) = (Vec::new(), Vec::new());
    let mut folders = Path::new("src/kernels")
        .read_dir()?
        .collect::<std::io::Result<Vec<_>>>()?;
    folders.sort_by_key(fs::DirEntry::file_name);
    for folder in folders.iter().map(fs::DirEntry::path) {
        let source = folder.join("cuda.cu");
        let (Some(name), true) = (folder.file_name(), folder.is_dir()) else {
            continue;
        };
        for file in folder.read_dir()? {
            let file = file?.path();
            if file.extension().is_some_and(|kind| kind == "cuh") {
                headers.push(fs::read(file)?);
            }
        }
        if source.exists() {
            let module = out.join(name).with_extension("fatbin");
            modules += &format!("({name:?}, include_bytes!({module:?})),");
            jobs.push((source, module));
        }
    }
    headers.sort();
    // which compiler it is, too
    headers.push(
        Command::new(nvcc())
            .arg("--version")
            .output()
            .map_or(Vec::new(), |said| said.stdout),
    );
    compile_all(jobs, &headers)?;
    fs::write(out.join("modules.rs"), modules + "];")?;
    Ok(())
}

/// Compiles each source to its module, as many at a time as cargo has jobs.
fn compile_all(jobs: Vec<(PathBuf, PathBuf)>, headers: &[Vec<u8>]) -> Result<()> {
    let threads = env::var("NUM_JOBS")?.parse()?;
    let jobs = Mutex::new(jobs);
    let next = || {
        jobs.lock()
            .expect("no thread panics while it takes a job")
            .pop()
    };
    let work = || {
        while let Some((source, module)) = next() {
            compile(&source, &module, headers)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut done = workers
            .into_iter()
            .map(|worker| worker.join().expect("no thread panics"));
        done.try_for_each(|done| done)
    })
}

fn nvcc() -> String {
    env::var("NVCC").unwrap_or("nvcc".into())
}

/// Rounds as `reference.rs` does: products and sums are not fused but where the source says so. A module of the same source, headers and
/// compiler's arguments is kept.
fn compile(source: &Path, out: &Path, headers: &[Vec<u8>]) -> Result<()> {
    let nvcc = nvcc();
    let mut arguments = ["--fatbin", "-O3", "-std=c++17", "--fmad=false"]
        .map(String::from)
        .to_vec();
    let code = |arch: u32, kind: &str| format!("-gencode=arch=compute_{arch},code={kind}_{arch}");
    match env::var("PROFILE")?.as_str() {
        "release" => {
            arguments.extend(CARDS.map(|card| code(card, "sm")));
            arguments.extend(CARDS.last().map(|card| code(*card, "compute")));
        }
        // compiled in a fifth of the time, and by every card as it loads it
        _ => arguments.push(code(CARDS[0], "compute")),
    }
    let mut hasher = DefaultHasher::new();
    (&nvcc, &arguments, fs::read(source)?, headers).hash(&mut hasher);
    let (made_of, note) = (hasher.finish().to_string(), out.with_extension("made-of"));
    if out.exists() && fs::read_to_string(&note).is_ok_and(|known| known == made_of) {
        return Ok(());
    }
    if note.exists() {
        fs::remove_file(&note)?;
    }
    let status = Command::new(&nvcc)
        .args(&arguments)
        .arg("-o")
        .args([out, source])
        .status();
    match status.map_err(|e| format!("feature cuda: cannot run {nvcc}: {e}"))? {
        status if status.success() => Ok(fs::write(note, made_of)?),
        _ => Err(format!("feature cuda: {nvcc} cannot compile {}", source.display()).into()),
    }
}
