package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/pgwire"
)

// client writes messages made beforehand and compares answers byte by byte, so
// that what it costs does not hide what the server costs: clients and servers
// share the machine's CPUs.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	got  []byte
}

// patience bounds every wait of a client, so that a server that says nothing
// ends the bench instead of holding it up.
const patience = 60 * time.Second

// dial starts a session as user postgres, which every server here lets in.
func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: bufio.NewReader(conn)}
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres", "database": "postgres"}}
	if err = c.send(start); err == nil {
		_, err = c.until('Z')
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start session at %q: %w", addr, err), conn.Close())
	}
	return c, nil
}

// encode returns the bytes of messages.
func encode(messages ...pgproto3.FrontendMessage) (b []byte, err error) {
	for _, m := range messages {
		if b, err = m.Encode(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (c *client) send(messages ...pgproto3.FrontendMessage) error {
	b, err := encode(messages...)
	if err != nil {
		return err
	}
	return c.write(b)
}

func (c *client) write(b []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// maxAnswer bounds one message of a server, in bytes.
const maxAnswer = 64 << 10

// until reads messages up to one of a kind, and returns the last command tag.
// A refusal is an error.
func (c *client) until(kind byte) (tag string, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return "", err
		}
		n := binary.BigEndian.Uint32(head[1:])
		if n < 4 || n > maxAnswer {
			return "", fmt.Errorf("read answer: message %q of %d bytes", head[0], n)
		}
		body := make([]byte, n-4)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return "", err
		}
		switch head[0] {
		case 'E':
			return "", fmt.Errorf("refused: %s", bytes.ReplaceAll(body, []byte{0}, []byte{' '}))
		case 'C':
			tag = string(bytes.TrimRight(body, "\x00"))
		}
		if head[0] == kind {
			return tag, nil
		}
	}
}

// ask sends a message and expects exactly this answer. A refusal is longer
// than any answer that is wanted here, so it is noticed and never waited for.
func (c *client) ask(message, want []byte) error {
	if _, err := c.conn.Write(message); err != nil {
		return err
	}
	if len(c.got) != len(want) {
		c.got = make([]byte, len(want))
	}
	if _, err := io.ReadFull(c.in, c.got); err != nil {
		return err
	}
	if !bytes.Equal(c.got, want) {
		rest, _ := c.in.Peek(c.in.Buffered())
		return fmt.Errorf("insert over the wire: answered %q", append(c.got, rest...))
	}
	return nil
}

// close says good-bye. What the server says to it does not matter any more.
func (c *client) close() error {
	_ = c.send(&pgproto3.Terminate{})
	return c.conn.Close()
}

// A workload is what each client sends for a row, and what it is answered.
type workload struct {
	prepare []byte // once; nil: nothing
	insert  []byte
	answer  []byte
}

var (
	inserted = []byte("C\x00\x00\x00\x0fINSERT 0 1\x00" + "Z\x00\x00\x00\x05I")
	bound    = []byte("2\x00\x00\x00\x04")
)

// simple is one INSERT with literals.
func simple() (workload, error) {
	sql := "INSERT INTO " + benchTable + " (" + columnNames() + ") VALUES (" + joined("'", ",", "'") + ")"
	insert, err := encode(&pgproto3.Query{String: sql})
	return workload{insert: insert, answer: inserted}, err
}

// prepared is Bind, Execute and Sync of a statement that was parsed before.
func prepared() (w workload, err error) {
	var places []string
	var params [][]byte
	for i, v := range values() {
		places = append(places, fmt.Sprintf("$%d", i+1))
		params = append(params, v.Text)
	}
	sql := "INSERT INTO " + benchTable + " (" + columnNames() + ") VALUES (" + strings.Join(places, ",") + ")"
	w.answer = append(bytes.Clone(bound), inserted...)
	if w.prepare, err = encode(&pgproto3.Parse{Name: "insert", Query: sql}, &pgproto3.Sync{}); err != nil {
		return w, err
	}
	w.insert, err = encode(&pgproto3.Bind{PreparedStatement: "insert", Parameters: params}, &pgproto3.Execute{}, &pgproto3.Sync{})
	return w, err
}

// crew is clients that are connected to one server.
type crew struct {
	clients []*client
	work    workload
}

// connect starts count sessions, each with the workload prepared.
func connect(p *pair, addr string, count int, w workload) (*crew, error) {
	c := &crew{work: w}
	for range count {
		one, err := dial(addr)
		if err != nil {
			return nil, err
		}
		p.onClose(one.close)
		c.clients = append(c.clients, one)
		if w.prepare == nil {
			continue
		}
		if err := one.write(w.prepare); err != nil {
			return nil, err
		}
		if _, err := one.until('Z'); err != nil {
			return nil, fmt.Errorf("prepare statement: %w", err)
		}
	}
	return c, nil
}

// insert lets each client insert its share of n rows, one at a time, waiting
// for each answer.
func (c *crew) insert(n int, took *histogram) (float64, error) {
	return float64(n), waiters(len(c.clients), n, took, func(i, share int, took *histogram) error {
		one := c.clients[i]
		if err := one.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		return alone(share, took, func() error { return one.ask(c.work.insert, c.work.answer) })
	})
}

const (
	copyRows  = 100_000 // of one COPY at most
	chunkRows = 100     // of one message
)

// copyIn sends n rows by COPY.
func (c *client) copyIn(n int, took *histogram) (float64, error) {
	line := joined("", "\t", "") + "\n"
	chunk, err := encode(&pgproto3.CopyData{Data: []byte(strings.Repeat(line, chunkRows))})
	if err != nil {
		return 0, err
	}
	return float64(n), inBatches(n, copyRows, took, func(rows int) error {
		if err := c.send(&pgproto3.Query{String: "COPY " + benchTable + " (" + columnNames() + ") FROM STDIN"}); err != nil {
			return err
		}
		if _, err := c.until('G'); err != nil {
			return fmt.Errorf("begin COPY: %w", err)
		}
		for range rows / chunkRows {
			if err := c.write(chunk); err != nil {
				return fmt.Errorf("send rows by COPY: %w", err)
			}
		}
		if err := c.send(&pgproto3.CopyData{Data: []byte(strings.Repeat(line, rows%chunkRows))}, &pgproto3.CopyDone{}); err != nil {
			return err
		}
		tag, err := c.until('Z')
		if err != nil {
			return fmt.Errorf("end COPY: %w", err)
		}
		if want := fmt.Sprintf("COPY %d", rows); tag != want {
			return fmt.Errorf("end COPY: answered %q instead of %q", tag, want)
		}
		return nil
	})
}

// serveWire serves store on a loopback port.
func serveWire(p *pair, store pgwire.Store) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := pgwire.New(pgwire.Options{Store: store})
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(context.Background(), ln) }()
	p.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return errors.Join(srv.Shutdown(ctx), <-ended)
	})
	return ln.Addr().String(), nil
}

// wireCounts are how many clients insert at a time.
var wireCounts = []int{1, 16, 64}

// inserts are the ways to insert one row.
var inserts = []struct {
	name string
	make func() (workload, error)
}{{"simple", simple}, {"prepared", prepared}}

// againstNull says what the baseline of every door is.
const againstNull = "the same server with a store that parses and stores nothing"

func wireCases() []comparison {
	var cases []comparison
	for _, in := range inserts {
		for _, count := range wireCounts {
			goal := 0.0
			if count == 64 {
				goal = .8
			}
			cases = append(cases, comparison{
				name: fmt.Sprintf("wire/%s/%d", in.name, count), unit: "rows/s", goal: goal, step: 16 * count, against: againstNull,
				open: func(ctx context.Context, at place) (*pair, error) {
					return wirePair(ctx, at, func(p *pair, addr string) (side, error) { return insertSide(p, addr, count, in.make) })
				},
			})
		}
	}
	return append(cases, comparison{
		name: "wire/copy", unit: "rows/s", step: 10_000, against: againstNull,
		open: func(ctx context.Context, at place) (*pair, error) { return wirePair(ctx, at, copySide) },
	})
}

// insertSide connects count clients to addr that insert row by row.
func insertSide(p *pair, addr string, count int, with func() (workload, error)) (side, error) {
	w, err := with()
	if err != nil {
		return nil, err
	}
	c, err := connect(p, addr, count, w)
	if err != nil {
		return nil, err
	}
	return c.insert, nil
}

// copySide connects one client to addr that sends rows by COPY.
func copySide(p *pair, addr string) (side, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	p.onClose(c.close)
	return c.copyIn, nil
}

// wirePair serves a database and a store of nothing, and makes clients for both.
func wirePair(ctx context.Context, at place, clients func(p *pair, addr string) (side, error)) (*pair, error) {
	p := &pair{}
	db, err := openDatabase(ctx, p, at)
	if err == nil {
		p.product, err = serveTo(p, wireStore{db}, clients)
	}
	if err == nil {
		p.baseline, err = serveTo(p, wireNothing{}, clients)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func serveTo(p *pair, store pgwire.Store, clients func(p *pair, addr string) (side, error)) (side, error) {
	addr, err := serveWire(p, store)
	if err != nil {
		return nil, err
	}
	return clients(p, addr)
}
