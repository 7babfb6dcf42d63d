package freshet

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// More dependencies than this don't fit a header.
const mostDepends = 64

func (c *Client) get(ctx context.Context, cache string, key Key, wait time.Duration, minPosition string, noCache bool) Answer {
	path, ok := key.path(cache)
	if !ok {
		return Answer{Status: Refused, Detail: "key-syntax"}
	}
	headers := map[string]string{}
	if wait > 0 {
		headers["Prefer"] = "wait=" + strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
	}
	if minPosition != "" {
		headers["Freshet-Min-Position"] = minPosition
	}
	if noCache {
		headers["Cache-Control"] = "no-cache"
	}
	response, why := c.exchange.do(ctx, request{method: "GET", path: path, headers: headers, wait: wait})
	answer := Answer{Status: Unavailable, Detail: why}
	switch why {
	case "":
		answer = response.answer()
	case "header":
		answer.Status = Refused
	}
	if (answer.Status == Unavailable || answer.Status == Refused) && answer.Detail != "paused" {
		c.tell(cache, answer.Detail)
	}
	return answer
}

func (c *Client) store(
	ctx context.Context,
	cache string,
	key Key,
	lease string,
	value any,
	absent bool,
	codec Codec,
	fill Fill,
) string {
	path, ok := key.path(cache)
	if !ok {
		return "key-syntax"
	}
	if len(fill.Depends) > mostDepends {
		c.tell(cache, "too-many-dependencies")
		return "too-many-dependencies"
	}
	headers := map[string]string{"Freshet-Lease": lease}
	if len(fill.Depends) > 0 {
		headers["Freshet-Depends"] = strings.Join(fill.Depends, ", ")
	}
	if fill.Position != "" {
		headers["Freshet-Position"] = fill.Position
	}
	if fill.MaxAge > 0 {
		headers["Cache-Control"] = "max-age=" + strconv.FormatInt(int64(fill.MaxAge/time.Second), 10)
	}
	var body []byte
	if absent {
		headers["Freshet-Absent"] = "?1"
	} else {
		headers["Content-Type"] = codec.ContentType()
		var err error
		if body, err = codec.Encode(value); err != nil {
			c.tell(cache, "unencodable")
			return "unencodable"
		}
	}
	response, why := c.exchange.do(ctx, request{method: "PUT", path: path, headers: headers, body: body})
	outcome := why
	switch why {
	case "":
		outcome = response.change("stored")
	case "header":
	default:
		return "unavailable"
	}
	if outcome != "stored" && outcome != "fenced" {
		c.tell(cache, outcome)
	}
	return outcome
}
