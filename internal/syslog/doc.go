// Package syslog is the door for programs that speak syslog: RFC 5424 and RFC
// 3164 over UDP (RFC 5426), TCP (RFC 6587, both framings) and TLS (RFC 5425).
//
// Syslog has no acks: what a sender has handed to its kernel is lost where this
// process dies before the commit. Nothing else is lost here. While rows cannot
// be stored, a connection is not read, so that its sender waits and keeps what
// it has; datagrams are kept up to a bound, and those beyond it counted. A line
// that is no text, or not whole, becomes a malformed row, and so a reject.
package syslog
