package gate

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// Accept calls open for each connection of ln until stopping says so, which
// makes it return nil, or ln is of no use any more. open must not block.
func Accept(ln net.Listener, stopping func() bool, log *slog.Logger, open func(net.Conn)) error {
	for pause := time.Duration(0); ; {
		if stopping() {
			return nil
		}
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			open(conn)
		case stopping():
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED),
			errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			// Used-up descriptors come back when clients leave.
			if pause = min(max(2*pause, 5*time.Millisecond), time.Second); pause == time.Second {
				log.Warn("cannot accept connections", "address", ln.Addr().String(), "error", err)
			}
			time.Sleep(pause)
		default:
			return err
		}
	}
}
