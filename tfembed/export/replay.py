"""Asks a SavedModel the way a server does: in a process that has only TensorFlow.

    python replay.py native|python SAVED_MODEL REQUESTS ANSWERS PROGRESS

REQUESTS is a pickled list of (signature name, inputs); ANSWERS becomes the pickled list
of outputs and what each signature takes and gives. `python` asks through
`tf.saved_model.load`; `native` through TensorFlow's C API, with no Python of TensorFlow
in the process. PROGRESS is a file whose first line says what is being done, also where
TensorFlow ends the process; below it stands the whole of an error's message. Run as a
file of its own, it must import nothing of tfembed.
"""

import importlib.util
import os
import pickle
import sys


def asked(signature, inputs):
    """Returns what a request is, in words: its signature, and the inputs' shapes."""
    shapes = [f"{name} {value.shape}" for name, value in inputs.items()]
    return f"`{signature}` of {', '.join(shapes)}"


def ask_natively(saved_model, requests, tell):
    """Answers of the C API, and the names that its signatures take and give."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "native.py")
    spec = importlib.util.spec_from_file_location("native", path)
    native = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    model = native.NativeModel(saved_model)
    answers = []
    for signature, inputs in requests:
        if signature not in model.signatures:
            raise RuntimeError(f"it has no signature {signature!r}")
        tell(asked(signature, inputs))
        answers.append(model(signature, inputs))
    assert "tensorflow" not in sys.modules
    return answers, model.signatures


def ask_in_python(saved_model, requests, tell):
    """Answers of `tf.saved_model.load`, and what its signatures take and give."""
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    answers = []
    for signature, inputs in requests:
        tell(asked(signature, inputs))
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        answers.append({name: value.numpy() for name, value in outputs.items()})
    signatures = {
        name: {
            "inputs": {
                key: (spec.dtype.name, spec.shape.as_list())
                for key, spec in function.structured_input_signature[1].items()
            },
            "outputs": {
                key: spec.dtype.name
                for key, spec in function.structured_outputs.items()
            },
        }
        for name, function in model.signatures.items()
    }
    return answers, signatures


def main(runtime, saved_model, requests_path, answers_path, progress_path):
    """Loads, asks, writes the answers."""
    sys.path.pop(0)  # this file's folder, whose modules are no top-level modules
    sys.modules["tfembed"] = None  # importing it would raise
    with open(requests_path, "rb") as file:
        requests = pickle.load(file)
    ask = {"native": ask_natively, "python": ask_in_python}[runtime]

    def tell(line, mode="w"):
        with open(progress_path, mode, encoding="utf-8") as file:
            file.write(f"{line}\n")

    tell("loading it")
    try:
        found = ask(saved_model, requests, tell)
    except Exception as error:
        tell(f"{type(error).__name__}: {error}", "a")
        raise
    with open(answers_path, "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
