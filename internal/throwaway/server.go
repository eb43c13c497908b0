package throwaway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// patience is how long a server may take to start or to stop. A machine that
// runs other tests at the same time is slow; one that is stuck is stuck.
const patience = 90 * time.Second

// Options say how a server is made. The zero value makes one as it comes, among
// the temporary files.
type Options struct {
	// Dir is where its directory is made, which whoever the server runs as must
	// be able to enter; if empty, the one for temporary files.
	Dir string
	// Settings are the server's own, as name=value.
	Settings []string
}

// Server is one server process and its directory. One goroutine uses its
// methods at a time.
type Server struct {
	dir  string
	bin  string // where its other programs are; "": where the shell finds them
	port int

	url     func(database string) string
	command func() *exec.Cmd
	ready   func() error // whether it answers, asked again and again after a start
	quit    syscall.Signal

	children bool // whether it starts processes that must be killed with it

	cmd   *exec.Cmd
	watch *exec.Cmd // ends the server where the test process dies
	hold  *os.File  // what the watch waits on
	done  chan struct{}
	once  sync.Once
}

// URL returns how to reach database as an administrator, without password.
func (s *Server) URL(database string) string { return s.url(database) }

// Addr returns host and port that the server listens on. They stay the same
// over Stop, Kill and Start.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Dir returns the server's own directory.
func (s *Server) Dir() string { return s.dir }

// Pid returns the number of the server's process, 0 where it does not run.
func (s *Server) Pid() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Program returns the path of a program that comes with the server.
func (s *Server) Program(name string) (string, error) {
	return exec.LookPath(filepath.Join(s.bin, name))
}

// Stop stops the server as an administrator would, and returns once it is gone.
func (s *Server) Stop() error { return s.end(s.quit) }

// Kill kills the server as the kernel would, and returns once it is gone.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Close kills the server and removes its directory. Idempotent.
func (s *Server) Close() (err error) {
	s.once.Do(func() { err = errors.Join(s.Kill(), os.RemoveAll(s.dir)) })
	return err
}

// Start starts the server again after Stop or Kill, and returns once it answers.
func (s *Server) Start(ctx context.Context) error {
	if s.cmd != nil {
		return errors.New("it is running")
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // however it ends, it is gone
		close(done)
	}()
	s.cmd, s.done = cmd, done
	if err := s.guard(); err != nil {
		return errors.Join(err, s.end(syscall.SIGKILL))
	}
	for began := time.Now(); ; {
		if err = s.ready(); err == nil {
			return nil
		}
		select {
		case <-done:
			err = errors.New("it ended by itself")
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(began) > patience || ctx.Err() != nil || s.ended() {
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return errors.Join(fmt.Errorf("%s does not answer: %w; its log ends:\n%s", cmd.Path, err, tail(said)), s.end(syscall.SIGKILL))
		}
	}
}

// guard starts a process that kills the server once this one is gone, however
// it went: a test that runs into its time limit, say, cleans nothing up.
func (s *Server) guard() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	watch := exec.Command("sh", "-c", `cat >/dev/null; kill -9 "$1"; sleep 1; rm -rf "$2"`, "watch", strconv.Itoa(s.cmd.Process.Pid), s.dir)
	watch.Stdin = r
	watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the keyboard is not for it
	if err := watch.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	s.watch, s.hold = watch, w
	return nil
}

func (s *Server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// end sends sig and waits. No error where the server is not running.
func (s *Server) end(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if s.watch != nil { // first, or it could kill whatever gets the number next
		_ = syscall.Kill(-s.watch.Process.Pid, syscall.SIGKILL)
		_ = s.watch.Wait()
		_ = s.hold.Close()
		s.watch, s.hold = nil, nil
	}
	var left error
	if sig == syscall.SIGKILL && s.children && !s.ended() {
		left = killFamily(s.cmd.Process.Pid)
	} else {
		_ = s.cmd.Process.Signal(sig) // it may be gone already
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.cmd = nil
		return fmt.Errorf("it did not end within %v after %v", patience, sig)
	}
	s.cmd = nil
	return left
}

// tail returns the end of a log.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// account returns who a server runs as: nil for this user, or, since database
// servers refuse to run as root, the first of names that there is.
func account(names ...string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("none of the users %q, nobody is there", names)
}

// folder makes a directory below dir that who can write to. Nobody else can
// look into it.
func folder(dir string, who *syscall.Credential) (string, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir) // the server looks from elsewhere
		if err != nil {
			return "", err
		}
		dir = abs
	}
	dir, err := os.MkdirTemp(dir, "holdfast-server-")
	if err == nil && who != nil {
		err = os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	return dir, err
}

// freePort returns a port that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
