package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

// ErrUnknown says that the server's answer to rows did not arrive, so that
// they may or may not be stored.
var ErrUnknown = errors.New("no answer came, so the rows may or may not be stored")

// Client asks a server over TCP or its admin socket. It is safe for concurrent
// use.
type Client struct {
	base string
	http *http.Client

	patience time.Duration // with an answer that takes no work
}

// dialTimeout bounds how long a connection may take; both ends are on one
// machine or one network.
const dialTimeout = 5 * time.Second

// NewTCP returns a client for host:port. Only the admin socket answers Rows,
// Verify and Seal.
func NewTCP(addr string) *Client {
	return newClient("http://"+addr, func(ctx context.Context, _, addr string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	})
}

// NewUnix returns a client for the admin socket at path.
func NewUnix(path string) *Client {
	return newClient("http://localhost", func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	})
}

func newClient(base string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Client {
	// No proxy and no redirect: rows go where they were told to go.
	return &Client{base: base, patience: answerTime, http: &http.Client{
		Transport:     &http.Transport{DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close gives up idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Put sends the rows in body, which are stored whole or not at all, and
// returns how many they were. A refusal is *Refused; an error that wraps
// ErrUnknown leaves open whether they are stored.
func (c *Client) Put(ctx context.Context, table, contentType string, body io.Reader) (int, error) {
	return c.PutOnce(ctx, table, contentType, "", body)
}

// PutOnce is Put of rows that have a key: however often they are sent with it,
// they are stored once.
func (c *Client) PutOnce(ctx context.Context, table, contentType, key string, body io.Reader) (int, error) {
	r, err := c.request(ctx, http.MethodPost, "/v1/tables/"+url.PathEscape(table)+"/rows", contentType, body)
	if err != nil {
		return 0, err
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := c.answer(r)
	if err != nil {
		var dial *net.OpError
		var refused *Refused
		if errors.As(err, &refused) || errors.As(err, &dial) && dial.Op == "dial" {
			return 0, err // the server said so, or never heard of the rows
		}
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer answer.Body.Close()
	var stored struct {
		Rows *int `json:"rows"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&stored); err != nil || stored.Rows == nil {
		return 0, fmt.Errorf("%w: read the answer: %w", ErrUnknown, err)
	}
	return *stored.Rows, nil
}

// Rows calls emit and damage as Admin.Rows does.
func (c *Client) Rows(ctx context.Context, q RowsQuery, emit func(*RowLine) error, damage func(row.Damage) error) error {
	path := "/v1/streams/" + url.PathEscape(q.Stream) + "/rows?" + q.values().Encode()
	err := c.lines(ctx, http.MethodGet, path, func(one *line) error {
		switch {
		case one.Damage != nil:
			return damage(*one.Damage)
		case one.RowLine != nil:
			return emit(one.RowLine)
		case one.Explained != nil && q.Explain != nil:
			q.Explain(*one.Explained)
		}
		return nil
	})
	if q.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

// Verify calls report for each damaged place.
func (c *Client) Verify(ctx context.Context, stream string, report func(row.Damage) error) (Verified, error) {
	return c.verified(ctx, "/v1/verify?stream="+url.QueryEscape(stream), func(one *line) error {
		if one.Damage == nil {
			return nil
		}
		return report(*one.Damage)
	})
}

// Repair calls report for each damage, as Repairer does.
func (c *Client) Repair(ctx context.Context, stream string, apply bool, report func(Repair) error) (Verified, error) {
	path := "/v1/repair?stream=" + url.QueryEscape(stream)
	if apply {
		path += "&apply=1"
	}
	return c.verified(ctx, path, func(one *line) error {
		if one.Repair == nil {
			return nil
		}
		return report(*one.Repair)
	})
}

// verified asks for a list that ends in how much was read.
func (c *Client) verified(ctx context.Context, path string, each func(*line) error) (Verified, error) {
	var v *Verified
	err := c.lines(ctx, http.MethodPost, path, func(one *line) error {
		if one.Verified != nil {
			v = one.Verified
		}
		return each(one)
	})
	if err == nil && v == nil {
		err = errors.New("read the answer: it ends before all was verified")
	}
	if err != nil {
		return Verified{}, err
	}
	return *v, nil
}

// Status returns how the server is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.soon(ctx, func(ctx context.Context) error { return c.get(ctx, http.MethodGet, "/v1/status", &s) })
	return s, err
}

// Seal closes the active segments.
func (c *Client) Seal(ctx context.Context) error {
	var done struct{}
	return c.get(ctx, http.MethodPost, "/v1/seal", &done)
}

// Ready returns nil while the server takes rows, and otherwise why not.
func (c *Client) Ready(ctx context.Context) error {
	var done struct{}
	return c.get(ctx, http.MethodGet, "/ready", &done)
}

func (c *Client) get(ctx context.Context, method, path string, into any) error {
	r, err := c.do(ctx, method, path, "", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return decodeAnswer(r, into)
}

func decodeAnswer(r *http.Response, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer to %s %q: %w", r.Request.Method, r.Request.URL.Path, err)
	}
	return nil
}

// lines calls each for every line of the answer, until one of them is an error.
func (c *Client) lines(ctx context.Context, method, path string, each func(*line) error) error {
	r, err := c.do(ctx, method, path, "", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	for d := json.NewDecoder(r.Body); ; {
		var one line
		if err := d.Decode(&one); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the answer to %s %q: %w", method, path, err)
		}
		if one.Error != nil {
			return one.Error.err()
		}
		if err := each(&one); err != nil {
			return err
		}
	}
}

// do sends a request and returns its answer, or the refusal as an error.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	r, err := c.request(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	return c.answer(r)
}

// request makes a request.
func (c *Client) request(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r, nil
}

// answer sends a request, and returns the answer where that is no refusal.
func (c *Client) answer(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fault.New(fault.ConnectionFailure, "no server answers at %q", r.URL.Host).Because(err).
			WithHint("start it with holdfast serve, or name another address")
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var e errorBody
	if err != nil || json.Unmarshal(text, &e) != nil || e.Error.Message == "" {
		text = bytes.TrimSpace(text)
		return nil, fault.New(fault.ProtocolViolation, "the server answered %s: %.200q", answer.Status, text).
			WithHint("is it Holdfast that listens there?")
	}
	return nil, e.Error.err()
}
