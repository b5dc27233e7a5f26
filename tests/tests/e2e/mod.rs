//! The product from outside: the real binary, real sockets, real files, real kills.

mod cluster;
mod cluster_drill;
mod cluster_nodes;
mod cluster_reads;
mod containers;
mod crash;
mod database;
mod deployment;
mod disk;
mod faults;
mod flow;
mod functions;
mod input;
mod isolation;
mod load;
mod operators;
mod partners;
mod postgres;
mod retention;
mod runbooks;
mod site;
mod sqlserver;
mod sqlserver_failover;
mod start;
mod vip;
