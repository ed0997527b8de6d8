"""GetModelStatus, with texts that need not be UTF-8.

Why a version did not load may quote a warm-up record, byte for byte. TF Serving sends
that as it is, and protobuf in Python neither reads nor writes it as text. So here the
answer is the same message but for `error_message`, which is bytes.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow_serving.apis import get_model_status_pb2, status_pb2

METHOD = "GetModelStatus"
SERVICE = "tensorflow.serving.ModelService"


def to_text(data):
    """Returns bytes as text for people."""
    return data.decode("utf-8", "replace")


def to_bytes(text):
    """Returns the bytes of a text; lone surrogates stand for what is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data):
    """Returns a text of which `to_bytes` makes the same bytes again."""
    return data.decode("utf-8", "surrogateescape")


def _make_response():
    """Makes the type of the answer."""
    pool = descriptor_pool.DescriptorPool()
    _copy(get_model_status_pb2.DESCRIPTOR, pool, set())
    name = get_model_status_pb2.GetModelStatusResponse.DESCRIPTOR.full_name
    found = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(found)
    return message_factory.MessageFactory(pool).GetPrototype(found)


def _copy(file, pool, done):
    """Copies a `.proto` file and what it imports, the one field changed."""
    if file.name in done:
        return
    done.add(file.name)
    for imported in file.dependencies:
        _copy(imported, pool, done)
    copied = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copied)
    if file.name == status_pb2.DESCRIPTOR.name:
        (message,) = copied.message_type
        for field in message.field:
            if field.name == "error_message":
                field.type = field.TYPE_BYTES
    pool.AddSerializedFile(copied.SerializeToString())


RawStatusResponse = _make_response()
