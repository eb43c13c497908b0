package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer bounds what is read of an answer; only its beginning is shown.
	maxAnswer = 64 << 10
	maxShown  = 300

	// maxRetryAfter bounds how long a receiver can keep us away: one that is
	// wrong about the time must not stop delivery for days.
	maxRetryAfter = 15 * time.Minute
)

// request is what is posted: rows first to last, or something else that has
// its own key.
type request struct {
	key         string
	first, last uint64
	rows        int
	retry       bool
	body        []byte
}

// refusedError is an answer that is about the rows.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

// post sends q. Its error is a *refusedError where the receiver refuses the
// rows for what they are.
func (n *session) post(ctx context.Context, q request) error {
	if err := n.waitTurn(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.sink.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(n.sink.ctx, cancel)()
	req, err := n.request(ctx, q)
	if err != nil {
		return err
	}
	answer, err := n.sink.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the rest of it names the URL again
		}
		return fmt.Errorf("post rows: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if e := answer.Body.Close(); err == nil {
		err = e
	}
	if answer.StatusCode/100 == 2 {
		// The rows are taken, even if the rest of the answer is lost.
		return nil
	}
	if err != nil {
		return fmt.Errorf("post rows: read answer %s: %w", answer.Status, err)
	}
	return n.judge(answer, text)
}

// waitTurn waits until the receiver wants to be asked again.
func (n *session) waitTurn(ctx context.Context) error {
	wait := time.Until(n.notBefore)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.sink.ctx.Done():
		return errors.New("sink is closed")
	}
}

func (n *session) request(ctx context.Context, q request) (*nethttp.Request, error) {
	body := q.body
	if n.sink.opts.Gzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(body)
		if err = errors.Join(err, z.Close()); err != nil {
			return nil, fmt.Errorf("compress rows: %w", err)
		}
		body = b.Bytes()
	}
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, n.sink.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if req.Header, err = n.sink.opts.header(); err != nil {
		return nil, err
	}
	h := req.Header
	if n.sink.opts.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("User-Agent", "holdfast")
	h.Set("Idempotency-Key", q.key)
	h.Set("Holdfast-Stream", url.PathEscape(n.ID.Stream))
	h.Set("Holdfast-Stream-Id", url.PathEscape(n.ID.StreamID))
	h.Set("Holdfast-Sink", url.PathEscape(n.ID.Sink))
	h.Set("Holdfast-First-Seq", strconv.FormatUint(q.first, 10))
	h.Set("Holdfast-Last-Seq", strconv.FormatUint(q.last, 10))
	h.Set("Holdfast-Rows", strconv.Itoa(q.rows))
	if q.retry {
		h.Set("Holdfast-Retry", "true")
	}
	return req, nil
}

// key names the request of rows first to last, the same whenever it is sent.
func (n *session) key(what string, first, last uint64) string {
	return fmt.Sprintf("%s.%s.%s%d-%d", url.PathEscape(n.ID.StreamID), url.PathEscape(n.ID.Sink), what, first, last)
}

// judge says what an answer that is not 2xx means.
func (n *session) judge(answer *nethttp.Response, text []byte) error {
	said := answer.Status
	if shown := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), maxShown)]), "?")), " "); shown != "" {
		said += ": " + shown
	}
	switch answer.StatusCode {
	case nethttp.StatusBadRequest, nethttp.StatusRequestEntityTooLarge, nethttp.StatusUnprocessableEntity:
		return &refusedError{status: answer.StatusCode, text: said}
	case nethttp.StatusUnauthorized, nethttp.StatusForbidden:
		return fmt.Errorf("receiver answered %s; look at the token, the headers, and what they may do", said)
	case nethttp.StatusNotFound, nethttp.StatusMethodNotAllowed:
		return fmt.Errorf("receiver answered %s; look at the URL, which must take POST", said)
	}
	if answer.StatusCode/100 == 3 {
		return fmt.Errorf("receiver answered %s and points to %q, which is not followed; set the URL to where rows are to go", said, answer.Header.Get("Location"))
	}
	if wait := retryAfter(answer.Header.Get("Retry-After"), time.Now()); wait > 0 {
		n.notBefore = time.Now().Add(wait)
		return fmt.Errorf("receiver answered %s; it asks to wait for %v", said, wait.Round(time.Second))
	}
	return fmt.Errorf("receiver answered %s", said)
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := nethttp.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
