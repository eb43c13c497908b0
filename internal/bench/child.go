package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Serve is the server of the cases in which it has a process of its own, as a
// PostgreSQL has: it makes a database below dir with segments of that many
// bytes, serves the wire on a loopback port, writes the address to out, and
// ends with in. Nothing but door and journal works in it, as there are no sinks.
func Serve(ctx context.Context, dir string, segment int64, in io.Reader, out io.Writer) error {
	p := &pair{}
	db, err := openDatabase(ctx, p, place{dir: dir, segment: segment})
	var addr string
	if err == nil {
		addr, err = serveWire(p, wireStore{db})
	}
	if err == nil {
		_, err = fmt.Fprintln(out, addr)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, in) // whoever started this may be killed: then too it ends
	}
	return errors.Join(err, p.close())
}

// child starts such a server until p is closed.
func child(ctx context.Context, p *pair, at place) (addr string, pid int, err error) {
	if len(at.self) == 0 {
		return "", 0, errors.New("start server: Options.Self names no command that serves")
	}
	cmd := exec.Command(at.self[0], append(at.self[1:], at.dir, strconv.FormatInt(at.segment, 10))...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, fmt.Errorf("start server: %w", err)
	}
	p.onClose(func() error {
		err := in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		return errors.Join(err, cmd.Wait())
	})
	stop := context.AfterFunc(ctx, func() { _ = in.Close() })
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(out, 1<<10)).ReadString('\n')
	if err != nil {
		return "", 0, fmt.Errorf("start server: it told no address: %w", err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, nil
}
