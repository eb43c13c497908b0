// Package servers starts throw-away database servers for tests: a directory of
// their own, a port of their own on 127.0.0.1, durable like a real one, small
// and quick to start. Nothing of a server that the machine may have is used.
package servers
