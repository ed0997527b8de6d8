"""What the package's parts leave on disk for each other: embeddings and their shards.

`tfembed.embed` and `tfembed.interop` write them, `tfembed.evaluate`, `tfembed.interop`
and `tfembed.export` read them; `tfembed.data.read_embeddings` is the reader's public
name. `disk` is what all that write need: files synced, and a full disk told. This room
knows NumPy and, for Parquet, pyarrow, and nothing else of the package.
"""
