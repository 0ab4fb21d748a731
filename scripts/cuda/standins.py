#!/usr/bin/env python3
"""standins.py FOLDER: writes static stand-ins for the CUDA libraries, for x86-64 Linux.

The plugin must load where there is no CUDA, so it may need none of CUDA's libraries. What is linked
instead has a function of each name that cudarc declares.

Of the driver, each jumps to the one in libcuda.so.1, which is opened at the first call; arguments are
passed on as they are, on the stack and in registers of integers and floats alike. Where the driver or
a function of it is missing, the answer is an error code.

Of the other libraries nothing is used, but candle makes a handle of two as it opens a device: these
get an empty one, and all other functions answer with an error code. So a machine needs no more than
the driver. The few of cuBLAS that candle's convolutions call are passed on to the library that the
variable CARD_CUBLAS names, if it names one: a bench compares them with ours.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

DRIVER = "libcuda.so.1"
NO_DRIVER, NO_FUNCTION = 34, 500  # CUDA_ERROR_STUB_LIBRARY, CUDA_ERROR_NOT_FOUND

# Name for the linker: cudarc's module, the answer of its functions, those that succeed.
UNUSED = {
    "nvrtc": ("nvrtc", 11, ()),  # NVRTC_ERROR_INTERNAL_ERROR
    "curand": (  # CURAND_STATUS_INITIALIZATION_FAILED
        "curand",
        203,
        ("curandCreateGenerator", "curandSetStream", "curandSetPseudoRandomGeneratorSeed"),
    ),
    "cublas": ("cublas", 1, ("cublasCreate_v2", "cublasSetStream_v2")),  # CUBLAS_STATUS_NOT_INITIALIZED
    "cublasLt": ("cublaslt", 1, ()),
}
# How many arguments, all of them integers or addresses, those have that may be passed on.
PASSED_ON = {
    "cublasCreate_v2": 1,
    "cublasDestroy_v2": 1,
    "cublasSetStream_v2": 2,
    "cublasGemmStridedBatchedEx": 23,
}
# candle's kernels for mixtures of experts would call this one; they are left out.
EMPTY = "cudart"

RESOLVE = """#include <dlfcn.h>
#include <pthread.h>
#define HIDDEN __attribute__((visibility("hidden")))
static const char *const names[] = {{ {names} }};
HIDDEN void *driver_functions[{count}];
static void *driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void load(void) {{ driver = dlopen("{driver}", RTLD_NOW | RTLD_LOCAL); }}
static long no_driver(void) {{ return {no_driver}; }}
static long no_function(void) {{ return {no_function}; }}
HIDDEN void *driver_function(unsigned i) {{
  pthread_once(&once, load);
  void *function = driver ? dlsym(driver, names[i]) : (void *)no_driver;
  if (!function) function = (void *)no_function;
  __atomic_store_n(&driver_functions[i], function, __ATOMIC_RELEASE);
  return function;
}}
"""

# Before the first call of a function, its number in %r11: all registers of arguments are saved.
FIRST_CALL = """.text
.hidden driver_function
.hidden driver_functions
.type first_call,@function
first_call:
  pushq %rdi; pushq %rsi; pushq %rdx; pushq %rcx; pushq %r8; pushq %r9; pushq %rax
  subq $128, %rsp
{save}
  movl %r11d, %edi
  call driver_function
  movq %rax, %r11
{restore}
  addq $128, %rsp
  popq %rax; popq %r9; popq %r8; popq %rcx; popq %rdx; popq %rsi; popq %rdi
  jmp *%r11
"""

JUMP = """.globl {function}
.hidden {function}
.type {function},@function
{function}:
  endbr64
  movq driver_functions+{offset}(%rip), %r11
  testq %r11, %r11
  jz 1f
  jmp *%r11
1: movl ${i}, %r11d
  jmp first_call
.size {function},.-{function}
"""

# The variable is looked at once, and is nobody's who plays pictures.
PASS_ON = """#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void load(void) {
  const char *name = getenv("CARD_CUBLAS");
  if (name && *name) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
}
static void *passed(const char *name) {
  pthread_once(&once, load);
  return library ? dlsym(library, name) : 0;
}
"""

PASSING = """static int answer_{function}({arguments}) {{ {effect}return {code}; }}
__attribute__((visibility("hidden"))) int {function}({parameters}) {{
  int (*real)({types}) = (int (*)({types}))passed("{function}");
  return real ? real({values}) : answer_{function}({first});
}}
"""

ANSWER = '__attribute__((visibility("hidden"))) long {function}({arguments}) {{ {effect}return {code}; }}\n'


def cudarc() -> Path:
    """The folder of cudarc's source, as cargo has it."""
    command = ["cargo", "metadata", "--format-version", "1", "--features", "cuda"]
    packages = json.loads(subprocess.check_output(command))["packages"]
    return next(Path(p["manifest_path"]).parent for p in packages if p["name"] == "cudarc")


def functions(source: Path, module: str) -> list[str]:
    text = (source / "src" / module / "sys" / "mod.rs").read_text()
    found = sorted(set(re.findall(r'extern "C" \{\s+fn (\w+)\(', text)))
    if not found:
        sys.exit(f"{source}: no functions of {module}; another version of cudarc?")
    return found


def archive(folder: Path, name: str, sources: dict[str, str]) -> None:
    objects = []
    for file, text in sources.items():
        source = folder / file
        source.write_text(text)
        objects.append(source.with_suffix(".o"))
        subprocess.check_call(["gcc", "-O2", "-fPIC", "-c", source, "-o", objects[-1]])
    library = folder / f"lib{name}.a"
    library.unlink(missing_ok=True)
    subprocess.check_call(["ar", "crs", library, *objects])


def driver(folder: Path, names: list[str]) -> None:
    registers = [(16 * i, i) for i in range(8)]
    calls = FIRST_CALL.format(
        save="\n".join(f"  movups %xmm{i}, {at}(%rsp)" for at, i in registers),
        restore="\n".join(f"  movups {at}(%rsp), %xmm{i}" for at, i in registers),
    )
    for i, function in enumerate(names):
        calls += JUMP.format(function=function, offset=8 * i, i=i)
    calls += '.section .note.GNU-stack,"",@progbits\n'
    resolve = RESOLVE.format(
        names=", ".join(f'"{name}"' for name in names),
        count=len(names),
        driver=DRIVER,
        no_driver=NO_DRIVER,
        no_function=NO_FUNCTION,
    )
    archive(folder, "cuda", {"driver.c": resolve, "driver_calls.S": calls})


def unused(folder: Path, name: str, names: list[str], code: int, succeed: tuple[str, ...]) -> None:
    def answer(function: str) -> str:
        makes = function in succeed and "Create" in function
        told = {
            "function": function,
            "arguments": "void **handle" if makes else "void",
            "effect": "*handle = 0; " if makes else "",
            "code": 0 if function in succeed else code,
        }
        if function not in PASSED_ON:
            return ANSWER.format(**told)
        values = [f"a{i}" for i in range(PASSED_ON[function])]
        return PASSING.format(
            **told,
            parameters=", ".join(f"long {value}" for value in values),
            types=", ".join("long" for _ in values),
            values=", ".join(values),
            first="(void **)a0" if makes else "",
        )

    passes = PASS_ON if set(PASSED_ON) & set(names) else ""
    archive(folder, name, {f"{name}.c": passes + "".join(answer(function) for function in names)})


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    source = cudarc()
    driver(folder, functions(source, "driver"))
    for name, (module, code, succeed) in UNUSED.items():
        unused(folder, name, functions(source, module), code, succeed)
    archive(folder, EMPTY, {})


if __name__ == "__main__":
    main()
