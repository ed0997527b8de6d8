"""What a person looks at after a run: one HTML file, and the projector's files.

`python -m tfembed.report RUN [RUN ...]` reads run directories and nothing else. Needs
the libraries of `pip install 'tfembed[report]'`.
"""
