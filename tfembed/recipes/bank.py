"""The memory bank's first rows, from a forward pass."""


def fill_bank(run):
    """Fills the bank of a run's endpoint layer from a forward pass over the images.

    In training mode, on clean images in shuffled order: batch normalisation uses
    the batches' statistics, and its moving averages are warm afterwards.

    Args:
        run: The `Run`.
    """
    import tensorflow as tf

    encoder, bank = run.networks.encoder, run.networks.endpoint.bank
    replicas = run.strategy.num_replicas_in_sync
    batches = run.data.train.batches(250 // replicas * replicas, run.config.seed)

    def step(batch):
        embeddings = encoder(batch["images"], training=True)
        bank.write(embeddings, batch["ids"], momentum=0.0)

    @tf.function(reduce_retracing=True)
    def distributed_step(batch):
        run.strategy.run(step, args=(batch,))

    for batch in run.strategy.experimental_distribute_dataset(batches):
        distributed_step(batch)
