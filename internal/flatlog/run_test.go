package flatlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/disk"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows)
}

// TestRun follows with its goroutine: woken by the system, rotated by order and
// by size, told to writers that fail at first, and closed in the middle.
func TestRun(t *testing.T) {
	dir, store := t.TempDir(), newMemory()
	var told atomic.Int64
	o := Options{
		Dir: dir, Columns: map[string][]string{"acc": {"a"}}, Source: "s", Name: "s", State: disk.NewMem(), Store: store, Poll: 10 * time.Minute, RotateSize: 1 << 20,
		Tell: func(context.Context) error {
			if told.Add(1) == 1 {
				return errors.New("nobody listens")
			}
			return nil
		},
	}
	if runtime.GOOS != "linux" {
		o.Poll = 10 * time.Millisecond
	}
	f := Start(o)
	defer f.Close()
	add := func(name, text string) {
		t.Helper()
		h, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if _, err := h.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "following", func() bool { return f.Status().State == Following })
	for i := range 20 {
		add("acc_1.log", fmt.Sprint(i, "\n"))
		eventually(t, "a line is stored", func() bool { return store.count() == i+1 })
	}
	if n, err := f.Rotate(t.Context()); n != 1 || err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("rotate: %d, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "acc_1.log")); err == nil {
		t.Error("the file has its name still")
	}
	add("acc_1.log", "new\n")
	eventually(t, "the writers are told again", func() bool { add("acc_1.log", "x\n"); return told.Load() >= 2 })
	eventually(t, "all is stored", func() bool { return f.Status().Pending == 0 && f.Status().State == Following })
	f.Close()
	if _, err := f.Rotate(t.Context()); err == nil {
		t.Error("a closed follower rotates")
	}
}

// TestTellRPC speaks to sockets that answer as Kamailio's do.
func TestTellRPC(t *testing.T) {
	dir, err := os.MkdirTemp("", "hf") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	gram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/json", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	answers := []string{"{\n\t\"jsonrpc\":\t\"2.0\",\n\t\"result\":\t{\n\t},\n\t\"id\":\t1\n}", `{"jsonrpc":"2.0","error":{"code":500,"message":"Method Not Found"},"id":1}`, "?"}
	asked := make(chan string, 8)
	go func() {
		for _, a := range answers {
			buf := make([]byte, 4096)
			n, from, err := gram.ReadFromUnix(buf)
			if err != nil {
				return
			}
			asked <- string(buf[:n])
			_, _ = gram.WriteToUnix([]byte(a), from)
		}
	}()
	for i, want := range []string{"", "500: Method Not Found", "read the answer"} {
		err := TellRPC("jsonrpc:" + dir + "/json")(ctx)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", i, err, want)
		}
		if got := <-asked; got != `{"jsonrpc":"2.0","method":"flatstore.k_rotate","id":1}` {
			t.Errorf("asked was %s", got)
		}
	}
	gram.Close()
	stream, err := net.Listen("unix", dir+"/bin")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []byte{0x13, 0x33, 0x13}
	go func() {
		for _, kind := range kinds {
			c, err := stream.Accept()
			if err != nil {
				return
			}
			packet := make([]byte, 7+21)
			_, err = bufio.NewReader(c).Read(packet)
			if err == nil && string(packet[7:]) == "\x91\x13flatstore.k_rotate\x00" {
				_, _ = c.Write(append([]byte{0xA1, kind, 3}, append(packet[3:7], "no\x00"...)...))
			}
			c.Close()
		}
		stream.Close()
	}()
	for i, want := range []string{"", "no", ""} {
		err := TellRPC("binrpc:" + dir + "/bin")(ctx)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", i, err, want)
		}
	}
	for _, socket := range []string{"jsonrpc:" + dir + "/none", "binrpc:" + dir + "/none"} {
		if err := TellRPC(socket)(ctx); err == nil || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: %v", socket, err)
		}
	}
	if err := TellCommand("sh", "-c", "echo why >&2; exit 3")(ctx); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("command: %v", err)
	}
	if err := TellCommand("true")(ctx); err != nil {
		t.Errorf("command: %v", err)
	}
}
