"""What the package's parts leave on disk for each other: embeddings and their shards.

`tfembed.embed` and `tfembed.interop` write them, `tfembed.evaluate`, `tfembed.interop`
and `tfembed.export` read them; `tfembed.data.read_embeddings` is the reader's public
name. `disk` is what all that write need: files synced, and a full disk told; `npz` is
the one reader of archives; `version_folders` tells which folders are versions.

And what people have on their disks: `folders` walks them, `image_header` and
`image_files` tell what their images are, and make them into what the graph reads.

This room knows NumPy, Pillow for images and pyarrow for Parquet, and of the package the
table of image formats alone.
"""
