"""Score windows in one runtime, in a process of its own: `python client.py RUNTIME MODEL WINDOWS.npy RESULT.npz`.

RESULT holds scores `(windows, labels)`, the time of each call, and the labels where the runtime names them; or, under
`refused`, why the runtime doesn't take the file. Each runtime is imported where it is used: no environment has all.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
SAMPLE_RATE_HZ = 16_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever asks another host finds none
)

Windows = NDArray[np.float32]
Score = Callable[[Windows], tuple[Sequence[float], Sequence[str]]]  # a window to its scores, and their labels or none


def interpreter(model: Path, *, reset: bool = False) -> Score:
    """TensorFlow Lite's interpreter. It alone can reset variables between calls."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(model), num_threads=1)
    runner.allocate_tensors()
    (taken,), (given,) = runner.get_input_details(), runner.get_output_details()

    def score(window: Windows) -> tuple[Sequence[float], Sequence[str]]:
        if reset:
            runner.reset_all_variables()
        runner.set_tensor(taken["index"], window[None])
        runner.invoke()
        return runner.get_tensor(given["index"])[0], ()

    return score


def compiled_model(model: Path) -> Score:
    """LiteRT's CompiledModel on the CPU; where nothing else is said it takes one thread."""
    from ai_edge_litert.compiled_model import CompiledModel

    compiled = CompiledModel.from_file(str(model))
    ((signature, tensors),) = compiled.get_signature_list().items()
    labels = compiled.get_output_tensor_details(signature)[tensors["outputs"][0]]["shape"][-1]
    taken, given = compiled.create_input_buffers(0), compiled.create_output_buffers(0)

    def score(window: Windows) -> tuple[Sequence[float], Sequence[str]]:
        taken[0].write(window)
        compiled.run_by_index(0, taken, given)
        return given[0].read(labels, np.float32), ()

    return score


def mediapipe_python(model: Path) -> Score:
    from mediapipe.tasks.python.audio import AudioClassifier
    from mediapipe.tasks.python.components.containers import AudioData

    classifier = AudioClassifier.create_from_model_path(str(model))

    def score(window: Windows) -> tuple[Sequence[float], Sequence[str]]:
        (result,) = classifier.classify(AudioData.create_from_array(window, SAMPLE_RATE_HZ))
        categories = sorted(result.classifications[0].categories, key=lambda category: category.index)
        return [category.score for category in categories], [category.category_name for category in categories]

    return score


def in_python(open_model: Callable[[Path], Score], model: Path, windows: Windows) -> dict[str, Any]:
    try:
        score = open_model(model)
    except (RuntimeError, ValueError) as error:
        return {"refused": str(error)}
    found: dict[str, Any] = {"scores": [], "times_ms": []}
    for window in windows:
        start = time.perf_counter()
        scores, found["labels"] = score(window)
        found["times_ms"].append(1000 * (time.perf_counter() - start))
        found["scores"].append(scores)
    return found


def in_browser(runtime: str, model: Path, windows: Windows) -> dict[str, Any]:
    """A runtime of `page.html`, in Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with served(model, windows) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = chromium.new_page()
        page.on("console", lambda message: print(message.text, file=sys.stderr))
        page.goto(f"{address}/page.html")
        found: dict[str, Any] = page.evaluate("([runtime, count]) => run(runtime, count)", [runtime, len(windows)])
        chromium.close()
    return found


class Files(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        # A page that shares its process with no other may read a clock finer than 0.1 ms.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of what was asked for."""


@contextmanager
def served(model: Path, windows: Windows) -> Iterator[str]:
    """Address of a folder with the page, the packages, the model and the windows, for this machine only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        links = {
            "page.html": HERE / "page.html",
            "node_modules": HERE / "node_modules",
            "model.tflite": model.resolve(),
        }
        for link, target in links.items():
            (folder / link).symlink_to(target)
        windows.astype("<f4").tofile(folder / "windows.f32")
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=name)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()


RUNTIMES: dict[str, Callable[[Path, Windows], dict[str, Any]]] = {
    "interpreter": partial(in_python, interpreter),
    "interpreter_reset": partial(in_python, partial(interpreter, reset=True)),
    "compiled_model": partial(in_python, compiled_model),
    "mediapipe_python": partial(in_python, mediapipe_python),
    "litert_js": partial(in_browser, "litert_js"),
    "mediapipe_web": partial(in_browser, "mediapipe_web"),
}


def main() -> None:
    runtime, model, windows, result = sys.argv[1:]
    found = RUNTIMES[runtime](Path(model), np.load(windows, allow_pickle=False))
    if "scores" in found:
        found["scores"] = np.array(found["scores"], np.float32)
    np.savez(result, **found)


if __name__ == "__main__":
    main()
