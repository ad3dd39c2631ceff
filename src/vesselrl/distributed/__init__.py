"""One function on many images, over Ray or over devices."""
