package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// A wiretap stands between the server and a database, reads what the server
// sends frame by frame, counts the statements in it, and can end the server at
// the COMMIT of a retry.
type wiretap struct {
	listener net.Listener
	target   string
	frames   func(t *tapped, r *bufio.Reader) error // of the protocol that is spoken
	group    sync.WaitGroup

	mu    sync.Mutex
	said  statements
	plan  plot
	fire  func() // ends the server
	conns map[net.Conn]bool
	hits  map[plot]int
}

// statements is what was counted.
type statements struct {
	all     int // every one, savepoints and COMMIT included
	commits int
}

func (a statements) since(b statements) statements {
	return statements{a.all - b.all, a.commits - b.commits}
}

// A plot says when the server is killed in the next retry.
type plot string

// The plots.
const (
	killBefore plot = "before COMMIT"     // the database never gets it
	killDuring plot = "before the answer" // it does, and nobody hears of it
	killAfter  plot = "right after"       // the server may have heard of it
)

// tapped is one connection.
type tapped struct {
	*wiretap
	client, database net.Conn
	mu               sync.Mutex
	plan             plot
	retries          bool // a key of a retried row was written since the last COMMIT
}

// errPlot ends a connection whose server was killed.
var errPlot = errors.New("the server was killed")

// newWiretap returns a wiretap in front of a server at target that speaks
// PostgreSQL's protocol or MariaDB's.
func newWiretap(t *testing.T, target string, frames func(*tapped, *bufio.Reader) error) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{listener: l, target: target, frames: frames, conns: map[net.Conn]bool{}, hits: map[plot]int{}}
	w.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() { w.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.group.Wait()
	})
	return w
}

// through returns url with the wiretap's address for that of the server.
func (w *wiretap) through(url string) string {
	return strings.Replace(url, w.target, w.listener.Addr().String(), 1)
}

// count returns what was counted so far.
func (w *wiretap) count() statements {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

// next has fire called at the next COMMIT of a retry.
func (w *wiretap) next(p plot, fire func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plan, w.fire = p, fire
}

func (w *wiretap) serve(client net.Conn) {
	defer client.Close()
	database, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer database.Close()
	w.mu.Lock()
	w.conns[client], w.conns[database] = true, true
	w.mu.Unlock()
	c := &tapped{wiretap: w, client: client, database: database}
	var back sync.WaitGroup
	back.Go(c.answers)
	_ = c.frames(c, bufio.NewReaderSize(client, 64<<10)) // it ends with the connection
	database.Close()
	client.Close()
	back.Wait()
	w.mu.Lock()
	delete(w.conns, client)
	delete(w.conns, database)
	w.mu.Unlock()
}

// answers hands on what the database says, but for what a plot keeps back.
func (c *tapped) answers() {
	defer c.client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.database.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		plan := c.plan
		c.mu.Unlock()
		if plan != killDuring {
			if _, err := c.client.Write(buf[:n]); err != nil {
				c.database.Close()
				return
			}
		}
		if plan != "" {
			c.kill(plan)
			return
		}
	}
}

func (c *tapped) kill(p plot) {
	c.wiretap.mu.Lock()
	c.hits[p]++
	fire := c.fire
	c.wiretap.mu.Unlock()
	fire()
}

// statement counts what is about to be sent, and sees to the plot.
func (c *tapped) statement(sql string) error {
	c.wiretap.mu.Lock()
	defer c.wiretap.mu.Unlock()
	commit := false
	for one := range strings.SplitSeq(sql, "; ") {
		c.said.all++
		commit = commit || strings.HasPrefix(one, "COMMIT")
	}
	c.retries = c.retries || strings.HasPrefix(sql, "INSERT") && strings.Contains(sql, "holdfast_retry")
	if !commit {
		return nil
	}
	c.said.commits++
	if !c.retries || c.wiretap.plan == "" {
		c.retries = false
		return nil
	}
	plan := c.wiretap.plan
	c.wiretap.plan = ""
	if plan == killBefore {
		go c.kill(plan)
		return errPlot
	}
	c.mu.Lock()
	c.plan = plan
	c.mu.Unlock()
	return nil
}

// pass sends a frame of size bytes that begins with head. Of its body, what
// look wants to see is read before anything is sent.
func (c *tapped) pass(r *bufio.Reader, head []byte, size int, look func(body []byte) error) error {
	const most = 1 << 20 // longer ones are rows
	var body []byte
	if look != nil {
		body = make([]byte, min(size, most))
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if err := look(body); err != nil {
			return err
		}
	}
	if _, err := c.database.Write(append(head, body...)); err != nil {
		return err
	}
	_, err := io.CopyN(c.database, r, int64(size-len(body)))
	return err
}

// postgresFrames reads what a client of PostgreSQL sends. A statement is
// counted where it is executed: each of a simple query's, and each Parse,
// since the server executes each once.
func postgresFrames(c *tapped, r *bufio.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil { // the greeting has no type
		return err
	}
	if err := c.pass(r, head[:4:4], int(binary.BigEndian.Uint32(head[:4]))-4, nil); err != nil {
		return err
	}
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		var look func([]byte) error
		switch head[0] {
		case 'Q':
			look = func(b []byte) error { return c.statement(strings.TrimRight(string(b), "\x00")) }
		case 'P':
			look = func(b []byte) error {
				_, sql, _ := strings.Cut(string(b), "\x00") // behind the name
				sql, _, _ = strings.Cut(sql, "\x00")
				return c.statement(sql)
			}
		}
		if err := c.pass(r, head[:5:5], int(binary.BigEndian.Uint32(head[1:]))-4, look); err != nil {
			return err
		}
	}
}

// mariaFrames reads what a client of MariaDB sends: a packet with number 0
// begins a command.
func mariaFrames(c *tapped, r *bufio.Reader) error {
	var head [4]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		var look func([]byte) error
		if head[3] == 0 && size > 0 {
			look = func(b []byte) error {
				switch b[0] {
				case 0x03: // COM_QUERY
					return c.statement(string(b[1:]))
				case 0x17: // COM_STMT_EXECUTE
					return c.statement("EXECUTE")
				case 0x16: // COM_STMT_PREPARE: its text tells what it will write
					c.wiretap.mu.Lock()
					c.retries = c.retries || strings.Contains(string(b), "INSERT") && strings.Contains(string(b), "holdfast_retry")
					c.wiretap.mu.Unlock()
				}
				return nil
			}
		}
		if err := c.pass(r, head[:4:4], size, look); err != nil {
			return err
		}
	}
}
