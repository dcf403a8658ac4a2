"""Encoder and decoder together, under the keys that a converted published checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from rsnb.mpi.decoder import Decoder
from rsnb.mpi.encoder import Encoder
from rsnb.mpi.layers import load_weights


class ImMPI(nn.Module):
    """The published model: one picture in, an MPI at four scales out.

    Args:
        encoder: any trunk; a fresh ResNet-18 where None.
        decoder: one whose `widths` are the encoder's; a fresh one of recipe "immpi" where None.
    """

    def __init__(self, encoder: Encoder | None = None, decoder: Decoder | None = None):
        super().__init__()
        self.encoder = Encoder() if encoder is None else encoder
        self.decoder = Decoder(widths=self.encoder.widths) if decoder is None else decoder

    def load(self, state: Mapping[str, Tensor], where: str = "weights of ImMPI") -> ImMPI:
        """Take the weights of a converted checkpoint, keys "encoder. ..." and "decoder. ..."; gives the model back.

        Raises:
            InputError: a key that is missing, unknown or of another shape.
        """
        load_weights(self, state, where)
        return self

    def forward(self, image: Tensor, planes: int) -> list[Tensor]:
        """[P, 4, H/2^s, W/2^s] for s = 0 ... 3 of a picture [3, H, W] in 0..1; H and W multiples of 128."""
        return self.decoder(self.encoder(image), self.decoder.codes(planes))
