package freshet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	defaultSocket = "/run/freshet/freshet.sock"
	defaultURL    = "http://127.0.0.1:3737"
	mostOfABody   = 64 << 20
	// The sidecar closes an unused connection after 75 s.
	idle = 60 * time.Second
)

type request struct {
	method, path string
	headers      map[string]string
	body         []byte
	// How long the answer may be held back because it was asked for.
	wait time.Duration
	// Whether it may be left unsent while the sidecar hangs, as every GET and PUT may.
	pausable bool
	// Whether it goes over a connection of its own, and so never twice: of one that was used before nobody knows whether it
	// was closed before the request or because of it.
	once bool
}

// place is a network and an address of it.
type place [2]string

// exchange carries requests to the sidecar, over connections that are used again.
type exchange struct {
	http http.Client
	// Keeps no connection.
	single  http.Client
	timeout time.Duration
	health  health
}

func newExchange(config Config) (*exchange, error) {
	places, err := places(config.Address, os.Getenv)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var failed error
		for _, place := range places {
			dialer := net.Dialer{Timeout: config.ConnectTimeout}
			connection, err := dialer.DialContext(ctx, place[0], place[1])
			if err == nil {
				return connection, nil
			}
			failed = err
		}
		return nil, failed
	}
	// Proxies of the environment aren't for a neighbour.
	transport := &http.Transport{
		DialContext:            dial,
		MaxIdleConnsPerHost:    config.MaxIdle,
		IdleConnTimeout:        idle,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	alone := transport.Clone()
	alone.DisableKeepAlives = true
	single := http.Client{Transport: alone, CheckRedirect: client.CheckRedirect}
	return &exchange{http: client, single: single, timeout: config.Timeout}, nil
}

// places is where the sidecar listens, in the order in which it is tried.
func places(given string, environment func(string) string) ([]place, error) {
	texts := []string{given}
	if given == "" {
		texts = []string{environment("FRESHET_SOCKET"), environment("FRESHET_URL")}
	}
	var places []place
	for _, text := range texts {
		if text == "" {
			continue
		}
		place, err := parsePlace(text)
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
	if places == nil {
		places = []place{{"unix", defaultSocket}, {"tcp", strings.TrimPrefix(defaultURL, "http://")}}
	}
	return places, nil
}

func parsePlace(text string) (place, error) {
	if strings.HasPrefix(text, "/") {
		return place{"unix", text}, nil
	}
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "http" || address.Hostname() == "" || strings.Trim(address.Path, "/") != "" ||
		address.RawQuery != "" || address.Fragment != "" || address.User != nil {
		return place{}, fmt.Errorf("a sidecar's address is a socket's path or a URL like %s, not %q", defaultURL, text)
	}
	port := address.Port()
	if port == "" {
		port = "80"
	}
	return place{"tcp", net.JoinHostPort(address.Hostname(), port)}, nil
}

// do carries out a request. The second result says in a word why there is no answer.
func (e *exchange) do(ctx context.Context, request request) (response, string) {
	for _, value := range request.headers {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return response{}, "header"
		}
	}
	mayPause := request.pausable || request.method == http.MethodGet || request.method == http.MethodPut
	if mayPause && e.health.pauses(time.Now()) {
		return response{}, "paused"
	}
	within, cancel := context.WithTimeout(ctx, e.timeout+request.wait)
	defer cancel()
	answer, err := e.send(within, request)
	why := ""
	switch {
	case err == nil:
	case ctx.Err() != nil:
		// It was the caller who had no more time.
		return response{}, "canceled"
	default:
		why = reason(err)
	}
	e.health.saw(why, time.Now())
	return answer, why
}

func (e *exchange) send(ctx context.Context, request request) (response, error) {
	built, err := http.NewRequestWithContext(ctx, request.method, "http://freshet"+request.path, bytes.NewReader(request.body))
	if err != nil {
		return response{}, err
	}
	for name, value := range request.headers {
		built.Header.Set(name, value)
	}
	client := &e.single
	if !request.once {
		client = &e.http
		// It may be sent again where a connection was closed while it was idle; the field itself isn't sent.
		built.Header["Idempotency-Key"] = []string{}
	}
	built.Header["User-Agent"] = nil
	answer, err := client.Do(built)
	if err != nil {
		return response{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostOfABody+1))
	if err == nil && len(body) > mostOfABody {
		err = errGarbled
	}
	return response{answer.StatusCode, answer.Header, body}, err
}

var errGarbled = errors.New("garbled")

func reason(err error) string {
	var operation *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "connect"
	// net/http has no name for that last one.
	case errors.Is(err, io.EOF), errors.As(err, &operation), strings.HasSuffix(err.Error(), "server closed idle connection"):
		return "closed"
	}
	return "garbled"
}

// health keeps a hung sidecar from slowing the application down: after three time-outs in a row only one request per
// second is tried, until one is answered. A sidecar that isn't there costs nothing and is tried each time.
type health struct {
	mutex    sync.Mutex
	timeouts int
	resume   time.Time
}

const (
	mostTimeouts = 3
	pause        = time.Second
)

func (h *health) pauses(now time.Time) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.timeouts < mostTimeouts {
		return false
	}
	if now.Before(h.resume) {
		return true
	}
	h.resume = now.Add(pause)
	return false
}

func (h *health) saw(why string, now time.Time) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	switch why {
	case "":
		h.timeouts = 0
	case "timeout":
		h.timeouts++
		h.resume = now.Add(pause)
	}
}
