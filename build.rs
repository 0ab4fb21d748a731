use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Compiles every `src/kernels/*/cuda.cu`, lists them in `$OUT_DIR/modules.rs`, and links stand-ins for CUDA's libraries.
fn cuda() -> Result<(), Box<dyn Error>> {
    for variable in ["NVCC", "CUDA_STANDINS"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if let Ok(folder) = env::var("CUDA_STANDINS") {
        println!("cargo:rustc-link-search=native={folder}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=src/kernels");
    let mut modules = String::from("const MODULES: &[(&str, &[u8])] = &[");
    for folder in Path::new("src/kernels").read_dir()? {
        let folder = folder?.path();
        let source = folder.join("cuda.cu");
        let (Some(name), true) = (folder.file_name(), source.exists()) else {
            continue;
        };
        let module = out.join(name).with_extension("fatbin");
        compile(&source, &module)?;
        modules += &format!("({name:?}, include_bytes!({module:?})),");
    }
    fs::write(out.join("modules.rs"), modules + "];")?;
    Ok(())
}

/// Rounds as `reference.rs` does: products and sums are not fused but where the source says so.
fn compile(source: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let nvcc = env::var("NVCC").unwrap_or("nvcc".into());
    let mut command = Command::new(&nvcc);
    command.args(["--fatbin", "-O3", "-std=c++17", "--fmad=false"]);
    let code = |arch: u32, kind: &str| format!("-gencode=arch=compute_{arch},code={kind}_{arch}");
    match env::var("PROFILE")?.as_str() {
        "release" => {
            command.args(CARDS.map(|card| code(card, "sm")));
            command.args(CARDS.last().map(|card| code(*card, "compute")));
        }
        // compiled in a fifth of the time, and by every card as it loads it
        _ => {
            command.arg(code(CARDS[0], "compute"));
        }
    }
    let status = command.arg("-o").args([out, source]).status();
    match status.map_err(|e| format!("feature cuda: cannot run {nvcc}: {e}"))? {
        status if status.success() => Ok(()),
        _ => Err(format!("feature cuda: {nvcc} cannot compile {}", source.display()).into()),
    }
}
