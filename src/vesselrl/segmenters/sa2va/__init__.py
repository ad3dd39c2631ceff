"""Sa2VA as a segmenter: a multimodal language model with SAM 2 as its mask decoder.

Yuan et al., "Sa2VA: Marrying SAM2 with LLaVA for Dense Grounded Understanding of Images and
Videos", 2025, arXiv:2501.04001. The model's own code comes with its weights; these modules call it
and change nothing in what it answers.
"""
