"""Asks a SavedModel the way a server does: in a process that has only TensorFlow.

    python replay.py SAVED_MODEL REQUESTS ANSWERS

REQUESTS is a pickled list of (signature name, inputs); ANSWERS becomes the pickled
list of outputs, and what each signature takes and gives. Run as a file of its own, it
must import nothing of tfembed.
"""

import pickle
import sys


def main(saved_model, requests_path, answers_path):
    """Loads, asks, writes the answers."""
    sys.path.pop(0)  # this file's folder, whose modules are no top-level modules
    sys.modules["tfembed"] = None  # importing it would raise
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    with open(requests_path, "rb") as file:
        requests = pickle.load(file)
    answers = []
    for signature, inputs in requests:
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        answers.append({name: value.numpy() for name, value in outputs.items()})
    described = {
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
    with open(answers_path, "wb") as file:
        pickle.dump((answers, described), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
