package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"holdfast/internal/httpapi"
)

// httpCases are those of the HTTP door: one client that sends batches and
// waits for each answer.
func httpCases() []comparison {
	return []comparison{{
		name: "http/ndjson1000", unit: "rows/s", step: batchRows, against: againstNull,
		open: func(ctx context.Context, at place) (*pair, error) {
			p := &pair{}
			db, err := openDatabase(ctx, p, at)
			if err == nil {
				p.product, err = postRows(ctx, p, httpStore{db})
			}
			if err == nil {
				p.baseline, err = postRows(ctx, p, httpNothing{})
			}
			if err != nil {
				return nil, errors.Join(err, p.close())
			}
			return p, nil
		},
	}}
}

// noAdmin is asked by nothing that is measured.
type noAdmin struct{ httpapi.Admin }

// postRows serves store on a loopback port, and returns a client of it.
func postRows(ctx context.Context, p *pair, store httpapi.Store) (side, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api := httpapi.New(httpapi.Options{Store: store, Admin: noAdmin{}})
	srv := httpapi.Server(ctx, api.Public(), slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	c := httpapi.NewTCP(ln.Addr().String())
	p.onClose(func() error {
		err := errors.Join(c.Close(), srv.Close())
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	var members []string
	for i, v := range values() {
		members = append(members, fmt.Sprintf("%q:%q", columns()[i].Name, v.Text))
	}
	line := []byte("{" + strings.Join(members, ",") + "}\n")
	body := bytes.Repeat(line, batchRows)
	return func(n int, took *histogram) (float64, error) {
		return float64(n), inBatches(n, batchRows, took, func(rows int) error {
			got, err := c.Put(ctx, benchTable, "application/x-ndjson", bytes.NewReader(body[:rows*len(line)]))
			if err == nil && got != rows {
				err = fmt.Errorf("%d of %d rows were stored", got, rows)
			}
			return err
		})
	}, nil
}
