"""Operations of networks: convolutions, normalisation, pooling and sums over maps."""
