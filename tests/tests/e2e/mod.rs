//! The product from outside: the real binary, real sockets, real files, real kills.
