// A command and a menu entry in ComfyUI's front end: the service's status page.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "hearth.status",
  commands: [
    {
      id: "Hearth.Status",
      label: "Hearth: service status",
      icon: "pi pi-gauge",
      function: () => window.open(new URL("hearth", document.baseURI), "hearth-status"),
    },
  ],
  menuCommands: [{ path: ["Extensions"], commands: ["Hearth.Status"] }],
});
