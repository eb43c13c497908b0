// Package throwaway starts database servers that nobody keeps: each in a
// directory of its own, on a port of its own on 127.0.0.1, open to every user of
// this machine, and gone with the process that started it, however that ends.
// Nothing of a server that the machine may have is used. The bench measures
// against them, and test/servers hands them to tests.
package throwaway
