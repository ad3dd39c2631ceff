"""The processor of the stand-in, copied into its folder."""

from transformers import ProcessorMixin


class StandInProcessor(ProcessorMixin):
    attributes = ["tokenizer"]  # noqa: RUF012
    tokenizer_class = "AutoTokenizer"

    def __call__(self, text):
        return self.tokenizer(text)
