package main

import (
	"context"
	"crypto/tls"
	"net"
)

// watchedListener wraps what it accepts, so that the requests on a connection can tell when it ends.
//
// An upgraded connection belongs to the streaming library, and net/http no longer cancels the request's context when
// the client vanishes. The library reads all the time, though, so the end of the connection passes through Read.
type watchedListener struct{ net.Listener }

func (l watchedListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	ended, end := context.WithCancel(context.Background())
	return &watchedConnection{Conn: connection, ended: ended, end: end}, nil
}

type watchedConnection struct {
	net.Conn
	ended context.Context
	end   context.CancelFunc
}

func (c *watchedConnection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !isTimeout(err) {
		c.end()
	}
	return n, err
}

func (c *watchedConnection) Close() error {
	c.end()
	return c.Conn.Close()
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// endWithConnection is an http.Server's ConnContext: requests end with their connection.
func endWithConnection(ctx context.Context, connection net.Conn) context.Context {
	watched, ok := connection.(*tls.Conn).NetConn().(*watchedConnection)
	if !ok {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(watched.ended, cancel)
	return ctx
}
