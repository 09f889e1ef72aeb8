import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;

/**
 * Clients of Java that know of the proxy what their environment says, no more: java JavaClient.java BASE..., with
 * TOKEN set. Both that come with it, java.net.http.HttpClient and HttpURLConnection, make the steps of
 * node_client.mjs; each line names the client.
 */
public class JavaClient {
    static final String TOKEN = System.getenv("TOKEN");
    static final String BODY = "x".repeat(100_000);

    interface Client {
        HttpAnswer ask(String method, String url, String body) throws Exception;
    }

    record HttpAnswer(int status, InputStream body) {
        String text() throws Exception {
            return new String(body.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    static HttpAnswer askNew(HttpClient client, String method, String url, String body) throws Exception {
        var publisher = body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body);
        var request = HttpRequest.newBuilder(URI.create(url)).method(method, publisher)
                .header("Authorization", "Bearer " + TOKEN).build();
        var answer = client.send(request, HttpResponse.BodyHandlers.ofInputStream());
        return new HttpAnswer(answer.statusCode(), answer.body());
    }

    static HttpAnswer askOld(String method, String url, String body) throws Exception {
        var connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
        connection.setRequestMethod(method);
        connection.setRequestProperty("Authorization", "Bearer " + TOKEN);
        if (body != null) {
            connection.setDoOutput(true);
            connection.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
        }
        return new HttpAnswer(connection.getResponseCode(), connection.getInputStream());
    }

    static void say(String client, String base, String step, String more) {
        System.out.println("{\"client\": \"" + client + "\", \"base\": \"" + base + "\", \"step\": \"" + step + "\", " + more + "}");
    }

    static void say(String client, String base, String step, HttpAnswer answer) throws Exception {
        say(client, base, step, "\"status\": " + answer.status() + ", \"body\": " + answer.text());
    }

    static void run(String name, Client client, String base) throws Exception {
        say(name, base, "whoami", client.ask("GET", base + "/a2a/whoami", null));
        say(name, base, "whoami", client.ask("GET", base + "/a2a/whoami", null));
        say(name, base, "echo", client.ask("POST", base + "/a2a/echo", BODY));
        var line = new ByteArrayOutputStream();
        var events = client.ask("GET", base + "/a2a/sse?n=4&ms=200", null).body();
        for (int c = events.read(); c >= 0; c = events.read()) {
            if (c != '\n') {
                line.write(c);
                continue;
            }
            if (line.toString().startsWith("data: ")) say(name, base, "event", "\"at\": " + System.nanoTime() / 1e6);
            line.reset();
        }
    }

    public static void main(String[] bases) throws Exception {
        var client = HttpClient.newHttpClient();
        for (String base : bases) {
            run("HttpClient", (method, url, body) -> askNew(client, method, url, body), base);
            run("HttpURLConnection", JavaClient::askOld, base);
        }
    }
}
