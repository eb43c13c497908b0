package flatlog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// method is what Kamailio's db_flatstore rotates on.
const method = "flatstore.k_rotate"

// maxAnswer bounds an answer of Kamailio, in bytes.
const maxAnswer = 64 << 10

// TellRPC returns what tells Kamailio to open other files over a control socket:
// "jsonrpc:" and the path of the datagram socket of its module jsonrpcs, or
// "binrpc:" and that of its module ctl.
func TellRPC(socket string) func(ctx context.Context) error {
	kind, path, _ := strings.Cut(socket, ":")
	return func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(tellTimeout)
		}
		tell := tellJSON
		if kind == "binrpc" {
			tell = tellBinary
		}
		if err := tell(ctx, path, deadline); err != nil {
			return fmt.Errorf("tell Kamailio %s over %q: %w", method, socket, err)
		}
		return nil
	}
}

// TellCommand returns what runs a command instead.
func TellCommand(args ...string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("run %q: %w: %.500q", strings.Join(args, " "), err, out)
		}
		return nil
	}
}

// tellJSON speaks to jsonrpcs: a datagram each way, so the socket needs a name of
// its own that Kamailio may write to.
func tellJSON(ctx context.Context, path string, deadline time.Time) (err error) {
	dir, err := os.MkdirTemp("", "holdfast-rpc-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	own := &net.UnixAddr{Name: filepath.Join(dir, "answer"), Net: "unixgram"}
	c, err := net.DialUnix("unixgram", own, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	// Kamailio runs as another user; who can find the name may write an answer,
	// which says no more than that it was told.
	if err := errors.Join(os.Chmod(own.Name, 0o622), os.Chmod(dir, 0o711), c.SetDeadline(deadline)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","method":%q,"id":1}`, method); err != nil {
		return err
	}
	buf := make([]byte, maxAnswer)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(buf[:n], &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if e := answer.Error; e != nil {
		return fmt.Errorf("it answers %d: %s", e.Code, e.Message)
	}
	return nil
}

// Binary RPC, as Kamailio's module ctl speaks it: 0xA1, then the kind of packet
// in the upper half of a byte and in the lower one how long the length is and
// how long the cookie, each less one; then the length, the cookie and the body.
// A string is its type with its length, itself, and a zero.
const (
	binMagic   = 0xA1
	binCookie  = 4
	binRequest = 0x00 | binCookie - 1
	binString  = 0x91 // of up to 255 bytes
)

// tellBinary speaks to ctl.
func tellBinary(ctx context.Context, path string, deadline time.Time) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var cookie [binCookie]byte
	rand.Read(cookie[:])
	body := append([]byte{binString, byte(len(method) + 1)}, method+"\x00"...)
	packet := append([]byte{binMagic, binRequest, byte(len(body))}, cookie[:]...)
	if _, err := c.Write(append(packet, body...)); err != nil {
		return err
	}
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	rest := make([]byte, int(head[1]>>2&3)+1+int(head[1]&3)+1)
	if _, err := io.ReadFull(c, rest); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if head[0] != binMagic || !bytes.HasSuffix(rest, cookie[:]) {
		return errors.New("the answer is not one to the question")
	}
	if kind := head[1] >> 4; kind != 1 {
		text, _ := io.ReadAll(io.LimitReader(&answered{c, length(rest[:len(rest)-binCookie])}, maxAnswer))
		return fmt.Errorf("it answers with kind %d: %q", kind, text)
	}
	return nil
}

// length reads a length of one to four bytes.
func length(b []byte) (n int) {
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n
}

// answered is as much of a connection as an answer has.
type answered struct {
	c    net.Conn
	left int
}

// Read reads the rest of the answer.
func (a *answered) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, io.EOF
	}
	n, err := a.c.Read(p[:min(len(p), a.left)])
	a.left -= n
	return n, err
}
