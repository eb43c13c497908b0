package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"holdfast/internal/cold"
	"holdfast/internal/fault"
)

// transport returns what requests go over: a server that is silent for as long as
// stall is given up, whatever it was doing.
func transport(ca []byte, stall time.Duration) (*http.Transport, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fault.New(fault.InvalidParameterValue, "there is no certificate in the file of certificates").WithHint("write them into it as PEM")
		}
	}
	d := &net.Dialer{Timeout: min(stall, 10*time.Second)}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{c, stall}, nil
		},
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: min(stall, 10*time.Second),
		DisableCompression:  true,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     stall / 2,
	}, nil
}

// conn is a connection that fails where nothing moves on it for a while. What
// moves in one direction lets the other one wait: a server answers an upload when
// it has all of it.
type conn struct {
	net.Conn
	stall time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

var errNoRanges = errors.New("the server sends a whole file where a part of it is asked for")

// longestText bounds what of a server's message is told.
const longestText = 300

// full are the codes by which servers say that there is no room.
var full = map[string]bool{
	"XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true, "QuotaExceeded": true, "InsufficientStorage": true, "StorageFull": true,
}

// blame makes an error of the server one of the store; nil stays nil.
func (b *Bucket) blame(what string, err error) error {
	if err == nil {
		return nil
	}
	if ended := b.base.Err(); ended != nil {
		return fmt.Errorf("%w: %s bucket %q: %w", cold.ErrAway, what, b.o.Bucket, ended)
	}
	r := minio.ToErrorResponse(err)
	var answered minio.ErrorResponse
	if !errors.As(err, &answered) {
		return fmt.Errorf("%w: %s bucket %q: %w", cold.ErrAway, what, b.o.Bucket, err)
	}
	text := r.Message
	if len(text) > longestText {
		text = text[:longestText]
	}
	answer := fmt.Errorf("%s (status %d): %q", r.Code, r.StatusCode, text)
	switch {
	case r.Code == minio.NoSuchKey || r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket:
		return fmt.Errorf("%s bucket %q: %w", what, b.o.Bucket, fs.ErrNotExist)
	case full[r.Code] || r.StatusCode == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w", cold.ErrAway, fault.New(fault.DiskFull, "the cold tier %q is full", b.Where()).Because(answer).WithHint("empty it, or give it more room"))
	case r.StatusCode == http.StatusForbidden:
		answer = fmt.Errorf("%w: the keys need s3:GetObject and s3:PutObject on the files, and s3:ListBucket on the bucket", answer)
	}
	return fmt.Errorf("%w: %s bucket %q: %w", cold.ErrAway, what, b.o.Bucket, answer)
}
